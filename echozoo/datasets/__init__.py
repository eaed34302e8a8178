"""Data: anatomy, files, the CAMUS data set, generated films, and the transforms."""

from echozoo.registry import import_parts

import_parts(__name__)
