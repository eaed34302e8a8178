"""Readers of the kinds of files that hold films; each gives a `FrameSource`."""
