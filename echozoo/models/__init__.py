"""Networks: segmentors and the parts that they are built from."""

from echozoo import upstream  # first: it keeps mmseg quiet
from echozoo.models.checkpoints import load_published
from echozoo.registry import import_parts

import_parts(__name__)
