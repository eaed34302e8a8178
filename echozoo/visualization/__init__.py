"""Pictures: overlays, films, curves."""
