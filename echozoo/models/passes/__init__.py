"""Passes: what changes a model from outside, adapters among them."""

from echozoo.registry import import_parts

import_parts(__name__)
