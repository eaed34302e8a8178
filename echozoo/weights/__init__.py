"""Trained models that come with the zoo, by the name of their config.

``NAME.safetensors`` holds the weights in half precision, the config that built the model and
where they are from; ``NAME.md`` beside it is its card. `echozoo publish --half` writes both.
"""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
DEFAULT = "efficient_unet"
"""What segments where nobody names a model."""


def names() -> tuple[str, ...]:
    """Names of the models that come with the zoo."""
    return tuple(sorted(file.stem for file in FOLDER.glob("*.safetensors")))


def find(name: str | Path) -> Path | None:
    """Return the file of weights of a model of the zoo, None where the zoo has none of that name.

    Args:
        name: Of a model, such as "efficient_unet". A path of the user's, with a suffix or a
            folder in it, is none.
    """
    return FOLDER / f"{name}.safetensors" if str(name) in names() else None
