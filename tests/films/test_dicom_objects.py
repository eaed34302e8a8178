from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from film_files import moving_disc, write_dicom

from echozoo.errors import DataError, EchoZooError
from echozoo.films.dicom_objects import need_highdicom, write_report, write_segmentation

STRUCTURES = [
    (1, "left ventricle", "LeftVentricle"),
    (2, "myocardium", "LeftVentricleMyocardium"),
    (3, "left atrium", "LeftAtrium"),
]
ABOUT = dict(model="efficient_unet", version="1.0")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_dicom(tmp_path / "a.dcm", moving_disc(4, (60, 80)), {}, Modality="US", PatientID="7",
                StudyInstanceUID="1.2.3")  # fmt: skip
    return tmp_path / "a.dcm"


@pytest.mark.parametrize("frames", [1, 4])
def test_a_segmentation_reads_back(source: Path, tmp_path: Path, frames: int) -> None:
    hd = pytest.importorskip("highdicom", reason="the extra dicom-objects is not installed")
    write_dicom(source, moving_disc(frames, (60, 80)), {}, Modality="US", PatientID="7",
                StudyInstanceUID="1.2.3")  # fmt: skip
    labels = np.zeros((frames, 60, 80), np.uint8)
    labels[-1, 10:20, 10:30] = 1
    labels[0, 30:40, 30:50] = 3
    path = tmp_path / "seg.dcm"
    write_segmentation(path, source, labels, STRUCTURES, (0.5, 0.3), **ABOUT)
    seg, told = hd.seg.segread(path), pydicom.dcmread(source)
    described = [seg.get_segment_description(n) for n in (1, 2)]
    codes = [one.segmented_property_type.value for one in described]
    assert codes == ["87878005", "82471001"]  # left ventricle, left atrium: no myocardium is there
    found = seg.get_pixels_by_source_frame(
        source_sop_instance_uid=told.SOPInstanceUID,
        source_frame_numbers=list(range(1, frames + 1)),
        combine_segments=True,
        assert_missing_frames_are_empty=True,
    )
    np.testing.assert_array_equal(found, np.array([0, 1, 0, 2])[labels])
    plain = pydicom.dcmread(path)
    measures = plain.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert list(measures.PixelSpacing) == [0.5, 0.3]
    assert (plain.PatientID, plain.StudyInstanceUID) == ("7", "1.2.3")
    assert plain.SeriesInstanceUID != told.get("SeriesInstanceUID")
    with pytest.raises(DataError, match="nothing was found in it"):
        write_segmentation(path, source, 0 * labels, STRUCTURES, None, **ABOUT)


@pytest.mark.parametrize(
    ("method", "code", "numbers"),
    [
        ("biplane", "79991-6", {"EDV": 120.4, "ESV": 54.2, "EF": 55.0}),
        ("single-plane 2CH", "79992-4", {"EF": 55.0}),
        ("single-plane 4CH", "79993-2", {"EDV": 120.4, "ESV": 54.2, "EF": 55.0}),
    ],
)
def test_a_report_reads_back(
    source: Path, tmp_path: Path, method: str, code: str, numbers: dict
) -> None:
    hd = pytest.importorskip("highdicom", reason="the extra dicom-objects is not installed")
    write_report(tmp_path / "sr.dcm", [source], numbers, method, **ABOUT)
    report = hd.sr.srread(tmp_path / "sr.dcm")
    (group,) = report.content.get_image_measurement_groups()
    found = group.get_measurements()
    assert [one.value for one in found] == list(numbers.values())
    assert {one.unit.value for one in found} <= {"ml", "%"}
    assert code in [one.name.value for one in found]
    assert report.StudyInstanceUID == "1.2.3"


def test_sources_without_identifiers(source: Path, tmp_path: Path) -> None:
    pytest.importorskip("highdicom", reason="the extra dicom-objects is not installed")
    write_dicom(source, moving_disc(2, (60, 80)))
    with pytest.raises(DataError, match="has no StudyInstanceUID"):
        write_report(tmp_path / "sr.dcm", [source], {"EF": 50.0}, "biplane", **ABOUT)


def test_without_highdicom(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    with pytest.raises(EchoZooError, match="need highdicom: pip install .*dicom-objects"):
        need_highdicom()
