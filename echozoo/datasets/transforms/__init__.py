"""Transforms of a clip: loading, geometry, ultrasound, prompts, formatting."""

from echozoo.registry import import_parts

import_parts(__name__)
