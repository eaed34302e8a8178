"""echozoo: a model zoo for echocardiography segmentation with SAM-family models."""

__version__ = "0.1.0"
