"""Memories: what a model keeps of the frames that it has segmented."""
