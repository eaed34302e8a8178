"""Folders of studies: whose a film is, which view, which numbers can be trusted, the tables."""
