"""Shapes of the heart as a few numbers, and films smoothed by them."""
