"""The engine: launching, hooks, the optimiser's parameters."""

from echozoo.registry import import_parts

import_parts(__name__)
