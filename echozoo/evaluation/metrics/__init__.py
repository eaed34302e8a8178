"""Metrics that the Runner calls."""

from echozoo.registry import import_parts

import_parts(__name__)
