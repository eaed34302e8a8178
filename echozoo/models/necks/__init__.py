"""Necks: modules between feature maps of one size, after the backbone or within its CNN branch."""

from echozoo.registry import import_parts

import_parts(__name__)
