"""What importing the package does not bring along: a name costs what it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import echozoo.apis", "torch mmcv mmseg mmengine cv2 scipy matplotlib SimpleITK"),
        ("from echozoo.apis import open_film", "torch mmcv mmseg scipy matplotlib"),
        (
            "from echozoo.apis import EchoInferencer",
            "mmseg.models torchvision scipy.stats matplotlib mmengine.runner torch._dynamo",
        ),
        ("import echozoo.registry", "torch mmcv cv2"),
        ("import echozoo.models", "torch mmcv mmseg"),
    ],
)
def test_heavy_modules_stay_out(statement: str, absent: str) -> None:
    code = f"{statement}\nimport sys\nprint(*(m for m in {absent.split()} if m in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def test_every_promised_name_is_there() -> None:
    import echozoo.apis

    assert all(callable(getattr(echozoo.apis, name)) for name in echozoo.apis.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        echozoo.apis.nothing  # noqa: B018
