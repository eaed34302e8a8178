"""Networks: segmentors and the parts that they are built from."""

from echozoo.lazy import lazily

__getattr__ = lazily(__name__, load_published="echozoo.models.checkpoints")
