"""Films: one way to open a film or a still, for training and for inference."""
