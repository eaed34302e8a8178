"""Prompt heads: from prompts, or none, to what the mask decoder reads."""

from echozoo.registry import import_parts

import_parts(__name__)
