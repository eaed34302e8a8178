"""Data: anatomy, files, the CAMUS data set, generated films, and the transforms."""
