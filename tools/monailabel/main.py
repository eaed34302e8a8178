"""MONAI Label's door to the zoo: 3D Slicer, OHIF or CVAT ask, `tools/infer.py` segments.

    monailabel start_server --app tools/monailabel --studies FILMS --conf python .venv/bin/python

MONAI Label 0.8 wants older packages (pydicom below 3, numpy below 2) than films are read with here,
so it has an environment of its own, and ``python`` names the interpreter of echozoo's. ``model``
names a model of the zoo or a run's folder; without it, it is the zoo's own choice.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.exception import MONAILabelError, MONAILabelException
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

INFER = Path(__file__).resolve().parents[1] / "infer.py"
LABELS = {"LV": 1, "Myocardium": 2, "LA": 3}


class SegmentFilm(InferTask):
    """Every frame of a film, without prompts; the answer lies on the film's own grid.

    Args:
        python: Interpreter of the environment that echozoo is installed in.
        model: A model of the zoo or a run's folder; None takes the zoo's own choice.
    """

    def __init__(self, python: str, model: str | None) -> None:
        super().__init__(InferType.SEGMENTATION, LABELS, 3, "LV, myocardium and left atrium")
        self.command = [python, str(INFER)] + ([model] if model else [])

    def is_valid(self) -> bool:
        """Whether it can be called: always."""
        return True

    def __call__(self, request: dict) -> tuple[str, dict]:
        """Segment ``request["image"]``, a file.

        Returns:
            A label map (NIfTI) that the server removes once it is sent, and infer.py's last words.

        Raises:
            MONAILabelException: The film was not segmented; infer.py's own line says why.
        """
        with tempfile.TemporaryDirectory() as out:
            command = [*self.command, request["image"], "-o", out]
            done = subprocess.run(command, capture_output=True, text=True)
            said = (done.stdout + done.stderr).strip()
            found = sorted(Path(out).rglob("labels.nii.gz"))
            if done.returncode or not found:
                raise MONAILabelException(MONAILabelError.INFERENCE_ERROR, said)
            with tempfile.NamedTemporaryFile(suffix=".nii.gz", delete=False) as kept:
                kept.write(found[0].read_bytes())
        return kept.name, {"label_names": LABELS, "said": said}


class EchoZoo(MONAILabelApp):
    """One task, ``echozoo``, for films in NIfTI files.

    Args:
        app_dir: This folder.
        studies: The folder of films.
        conf: ``python`` and ``model``, see the head of this file.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict) -> None:
        super().__init__(
            app_dir, studies, conf, "echozoo", "The heart in ultrasound films", labels=LABELS
        )

    def init_infers(self) -> dict[str, InferTask]:
        """The tasks by name."""
        return {
            "echozoo": SegmentFilm(self.conf.get("python", sys.executable), self.conf.get("model"))
        }
