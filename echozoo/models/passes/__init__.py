"""Passes: what changes a model from outside, adapters among them."""
