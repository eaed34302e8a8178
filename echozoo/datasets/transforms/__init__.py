"""Transforms of a clip: loading, geometry, ultrasound, prompts, formatting."""
