"""Segmentors: the whole path from a clip to its masks."""
