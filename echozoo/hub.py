"""Published weights on the Hugging Face Hub: ``hub:USER/NAME`` wherever a model is asked for.

`echozoo push` puts there what `echozoo publish` has written. What is loaded is the safetensors file
with the config inside: none of it runs.
"""

from __future__ import annotations

import shutil
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from echozoo.errors import CheckpointError, ConfigError

PREFIX = "hub:"
_PACKAGE = "huggingface_hub"


def is_on_hub(name: object) -> bool:
    """Whether a name of a model means one on the Hub."""
    return str(name).startswith(PREFIX)


def pull(name: str) -> Path:
    """Get published weights; what has been got before is taken from the Hub's cache.

    Args:
        name: ``USER/NAME``, or ``USER/NAME@REVISION``; ``hub:`` may stand before it.

    Raises:
        CheckpointError: The Hub refuses, cannot be reached, or has no single file of weights there.
        ConfigError: huggingface_hub is not installed.
    """
    name = name.removeprefix(PREFIX)
    repository, _, revision = name.partition("@")
    hub = _hub(name)
    try:
        folder = hub.snapshot_download(
            repository, revision=revision or None, allow_patterns=["*.safetensors", "*.md"]
        )
    except Exception as error:  # of the network, the Hub, its cache: a dozen classes
        raise _refused(name, error) from error
    found = sorted(Path(folder).glob("*.safetensors"))
    if len(found) != 1:
        there = ", ".join(file.name for file in found) or "none"
        raise CheckpointError(
            f"{PREFIX}{name}: found {there}, wanted one .safetensors file of `echozoo publish`"
        )
    return found[0]


def push(weights: Path, name: str, private: bool = False) -> str:
    """Put published weights on the Hub, with their model card as its page.

    Earlier weights of the repository go in the same commit: it always holds one model.

    Args:
        weights: What `echozoo publish` has written; card and config lie beside it.
        name: ``USER/NAME``; made where it does not exist.
        private: Whether a new repository is seen by its owner alone.

    Raises:
        CheckpointError: The Hub refuses or cannot be reached.
        ConfigError: huggingface_hub is not installed, or the card is absent.
    """
    name = name.removeprefix(PREFIX)
    card = weights.with_name("MODEL_CARD.md")
    if not card.is_file():
        raise ConfigError(f"{card}: no such file; publish the model first (echozoo publish)")
    api = _hub(name).HfApi()
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(card, Path(folder, "README.md"))
        for file in (weights, *weights.parent.glob("*.py")):
            shutil.copy(file, folder)
        try:
            page = api.create_repo(name, private=private, exist_ok=True)
            api.upload_folder(
                repo_id=name,
                folder_path=folder,
                commit_message=f"{weights.name}, by echozoo push",
                delete_patterns=["*.safetensors", "*.py"],
            )
        except Exception as error:
            raise _refused(name, error) from error
    return str(page)


def _hub(name: str) -> Any:
    if find_spec(_PACKAGE) is None:
        raise ConfigError(
            f"{PREFIX}{name}: {_PACKAGE} is not installed: pip install 'echozoo[hub]'"
        )
    return import_module(_PACKAGE)


def _refused(name: str, error: Exception) -> CheckpointError:
    said = " ".join(str(error).split())[:200] or type(error).__name__
    return CheckpointError(
        f"{PREFIX}{name}: {said} (wanted a repository USER/NAME that you may read or, to push, "
        "write: hf auth login)"
    )
