from __future__ import annotations

from pathlib import Path

import pytest
from film_files import moving_disc, write_dicom, write_itk

from echozoo.apis.inferencer import EchoInferencer
from echozoo.errors import ConfigError

FILM = moving_disc(4, (40, 48))
NAMES = ("smith", "7733", "1.2.3.4")


def test_no_name_is_left(unet: Path, tmp_path: Path) -> None:
    folder, out = tmp_path / "in/Smith_folder", tmp_path / "out"
    for view in ("2CH", "4CH"):
        write_itk(folder / f"Smith_{view}.nii.gz", FILM)
    write_dicom(folder / "Smith.dcm", FILM, {}, PatientID="7733", StudyInstanceUID="1.2.3.4")
    (folder / "Smith_broken.nii.gz").write_bytes(b"\x1f\x8b")
    write_dicom(folder / "Smith_CT.dcm", FILM, {}, Modality="CT")
    (folder / "Smith.txt").write_text("Smith")
    inferencer = EchoInferencer(unet, device="cpu", progress=False)
    done = inferencer(tmp_path / "in", out, anonymous=True)
    counts = [len(one) for one in (done.results, done.no_films, done.left_out.files, done.failures)]
    assert counts == [3, 1, 1, 1]
    for path in out.rglob("*"):
        text = path.relative_to(out).as_posix().lower()
        if path.suffix in (".json", ".csv", ".html", ".txt"):
            text += path.read_text().lower()
        assert [name for name in NAMES if name in text] == [], path
    exams = [one.summary["study"] for one in done.results]
    assert len(set(exams)) == 2, "both views of one, and the DICOM film"
    again = inferencer(tmp_path / "in", out, anonymous=True)
    assert [one.kept for one in again.results] == [True] * 3
    with pytest.raises(ConfigError, match="anonymous and DICOM objects|need highdicom"):
        inferencer(tmp_path / "in", out, anonymous=True, dicom_sr=True)
