"""Mask decoders."""
