"""Measuring: plain functions, and the metrics that the Runner calls."""
