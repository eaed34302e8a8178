"""Necks: modules between feature maps of one size, after the backbone or within its CNN branch."""
