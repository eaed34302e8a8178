"""Networks: segmentors and the parts that they are built from."""

from echozoo.registry import import_parts

import_parts(__name__)
