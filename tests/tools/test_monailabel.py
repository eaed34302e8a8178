"""MONAI Label's app, with stand-ins for MONAI Label's own classes (0.8.5's signatures)."""

import importlib.util
import sys
from enum import Enum
from pathlib import Path
from types import ModuleType

import nibabel
import numpy as np
import pytest

MAIN = Path(__file__).parents[2] / "tools/monailabel/main.py"


@pytest.fixture
def app(monkeypatch):
    class Task:
        def __init__(self, type, labels, dimension, description, config=None):
            self.labels = labels

    class App:
        def __init__(self, app_dir, studies, conf, name="", description="", labels=None):
            self.conf = conf
            self.infers = self.init_infers()

    class Raised(Exception):
        def __init__(self, error, msg):
            super().__init__(msg)

    parts = {
        "app": dict(MONAILabelApp=App),
        "exception": dict(
            MONAILabelException=Raised, MONAILabelError=Enum("MONAILabelError", "INFERENCE_ERROR")
        ),
        "tasks.infer_v2": dict(InferTask=Task, InferType=Enum("InferType", "SEGMENTATION")),
    }
    for name in ("monailabel", "monailabel.interfaces", "monailabel.interfaces.tasks"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for name, content in parts.items():
        module = ModuleType(f"monailabel.interfaces.{name}")
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    spec = importlib.util.spec_from_file_location("monailabel_app", MAIN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.EchoZoo("", "", {"python": sys.executable})


def test_segments_a_film_on_its_own_grid_or_says_why_not(app, tmp_path):
    film = np.random.default_rng(0).integers(0, 255, (64, 48, 2)).astype(np.uint8)
    nibabel.Nifti1Image(film, np.diag([0.3, 0.4, 1, 1])).to_filename(tmp_path / "film_4CH.nii.gz")
    task = app.infers["echozoo"]
    file, answer = task({"image": str(tmp_path / "film_4CH.nii.gz")})
    labels = nibabel.load(file)
    assert labels.shape == film.shape
    np.testing.assert_allclose(labels.affine[:2, :2], np.diag([0.3, 0.4]), atol=1e-6)
    assert answer["label_names"] == {"LV": 1, "Myocardium": 2, "LA": 3}
    assert set(np.unique(labels.dataobj)) <= {0, *answer["label_names"].values()}
    Path(file).unlink()
    (tmp_path / "bad.nii.gz").write_text("no film")
    with pytest.raises(Exception, match=r"bad\.nii\.gz: of no known kind"):
        task({"image": str(tmp_path / "bad.nii.gz")})
