"""Metrics that the Runner calls."""
