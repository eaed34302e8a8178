"""Segmentors: the whole path from a clip to its masks."""

from echozoo.registry import import_parts

import_parts(__name__)
