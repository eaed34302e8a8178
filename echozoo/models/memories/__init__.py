"""Memories: what a model keeps of the frames that it has segmented."""

from echozoo.registry import import_parts

import_parts(__name__)
