"""Trained models for use elsewhere: ONNX files, and weights that are safe to pass on."""
