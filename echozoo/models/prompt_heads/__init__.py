"""Prompt heads: from prompts, or none, to what the mask decoder reads."""
