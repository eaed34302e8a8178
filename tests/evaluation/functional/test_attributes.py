from __future__ import annotations

import numpy as np
import pytest

from echozoo.errors import DataError
from echozoo.evaluation.functional.attributes import (
    ATTRIBUTES,
    columns,
    film_attributes,
    frame_attributes,
    measurable,
    orientation_deg,
)
from echozoo.films.io import read_volume

ALL = ("lv", "myo", "la")
SPACING = (0.4, 0.6)


def heart(spacing: tuple[float, float] = SPACING, lean_deg: float = 0.0) -> np.ndarray:
    """Half an ellipse with a wall and an atrium below; its upper end leans to the left.

    LV 60 mm long and 40 wide at its flat base, wall 10 thick; the base's middle is at (70, 90) mm.
    """
    y, x = np.mgrid[: round(150 / spacing[0]), : round(140 / spacing[1])] + 0.5
    y, x = y * spacing[0] - 90, x * spacing[1] - 70
    lean = np.radians(lean_deg)
    y, x = y * np.cos(lean) + x * np.sin(lean), x * np.cos(lean) - y * np.sin(lean)
    labels = np.zeros(y.shape, np.uint8)
    labels[((y / 70) ** 2 + (x / 30) ** 2 <= 1) & (y <= 0)] = 2
    labels[((y / 60) ** 2 + (x / 20) ** 2 <= 1) & (y <= 0)] = 1
    labels[((y - 20) / 20) ** 2 + (x / 17) ** 2 <= 1] = 3
    return labels


def rectangle(rows: slice, cols: slice, shape: tuple[int, int] = (100, 120)) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[rows, cols] = 1
    return labels


def test_names_carry_their_units() -> None:
    assert [one.key for one in ATTRIBUTES] == [
        "lv_area_cm2",
        "myo_area_cm2",
        "epi_center_x_mm",
        "epi_center_y_mm",
        "lv_orientation_deg",
        "lv_base_width_mm",
        "lv_length_mm",
    ]
    found = frame_attributes(heart(), ALL, SPACING)
    assert list(found) == [one.key for one in ATTRIBUTES]


def test_a_rectangle_by_hand() -> None:
    """60 rows of 0.5 mm and 10 columns of 2 mm: 30 mm high, 20 wide, wall below it 4 mm high."""
    labels = rectangle(slice(10, 70), slice(30, 40))
    labels[70:78, 30:40] = 2
    labels[78:90, 10:60] = 2
    found = frame_attributes(labels, ALL, (0.5, 2.0))
    assert found["lv_area_cm2"] == pytest.approx(3.0 * 2.0)
    assert found["myo_area_cm2"] == pytest.approx(0.4 * 2.0 + 0.6 * 10.0)
    mass = np.array([6.0, 0.8, 6.0])
    assert found["epi_center_x_mm"] == pytest.approx(mass @ [70, 70, 70] / 12.8)
    assert found["epi_center_y_mm"] == pytest.approx(mass @ [20, 37, 42] / 12.8)
    assert found["lv_orientation_deg"] == 0
    lying = rectangle(slice(20, 60), slice(10, 50))
    assert frame_attributes(lying, ALL, (0.5, 2.0))["lv_orientation_deg"] == 90


def test_a_known_heart() -> None:
    found = frame_attributes(heart(), ALL, SPACING)
    assert found["lv_area_cm2"] == pytest.approx(np.pi / 2 * 6 * 2, rel=0.01)
    assert found["myo_area_cm2"] == pytest.approx(np.pi / 2 * (7 * 3 - 6 * 2), rel=0.01)
    assert found["epi_center_x_mm"] == pytest.approx(70, abs=0.05)
    assert found["epi_center_y_mm"] == pytest.approx(90 - 4 * 70 / (3 * np.pi), abs=0.2)
    assert found["lv_orientation_deg"] == pytest.approx(0, abs=0.1)
    assert found["lv_base_width_mm"] == pytest.approx(40, rel=0.03)
    assert found["lv_length_mm"] == pytest.approx(60, rel=0.01)


@pytest.mark.parametrize("lean", [-40, -10, 10, 40, 80, 100])
def test_the_orientation_is_that_of_the_axis_and_has_no_sign(lean: float) -> None:
    found = frame_attributes(heart(lean_deg=lean), ALL, SPACING)
    assert found["lv_orientation_deg"] == pytest.approx(lean if lean <= 90 else lean - 180, abs=0.2)
    turned = orientation_deg(heart(lean_deg=lean)[::-1, ::-1] == 1, SPACING)
    assert turned == pytest.approx(found["lv_orientation_deg"], abs=1e-9)
    mirrored = orientation_deg(heart(lean_deg=lean)[:, ::-1] == 1, SPACING)
    assert mirrored == pytest.approx(-found["lv_orientation_deg"], abs=1e-9)


def test_the_orientation_is_the_eigenvector_of_the_tensor_of_inertia() -> None:
    mask = heart(lean_deg=25) == 1
    rows, cols = np.nonzero(mask)
    points = np.stack([cols * SPACING[1], rows * SPACING[0]])
    x, y = np.linalg.eigh(np.cov(points)).eigenvectors[:, 1]
    assert orientation_deg(mask, SPACING) == pytest.approx(np.degrees(np.arctan(x / y)), abs=0.01)


@pytest.mark.parametrize("factors", [(2, 2), (1, 3), (4, 1)])
def test_a_finer_grid_of_the_same_picture_has_the_same_attributes(factors) -> None:
    labels = heart((1.2, 1.2), 20)
    finer = labels.repeat(factors[0], axis=0).repeat(factors[1], axis=1)
    found = frame_attributes(finer, ALL, (1.2 / factors[0], 1.2 / factors[1]))
    coarse = frame_attributes(labels, ALL, (1.2, 1.2))
    for key in ("lv_area_cm2", "myo_area_cm2", "epi_center_x_mm", "epi_center_y_mm"):
        assert found[key] == pytest.approx(coarse[key], rel=1e-9)
    assert found["lv_orientation_deg"] == pytest.approx(coarse["lv_orientation_deg"], abs=1e-9)
    for key in ("lv_base_width_mm", "lv_length_mm"):
        assert found[key] == pytest.approx(coarse[key], abs=0.6)  # half a pixel


@pytest.mark.parametrize("spacing", [(0.308, 0.308), (0.154, 0.308), (0.8, 0.4), (0.7, 0.7)])
def test_the_same_shape_on_any_grid_has_the_same_attributes(spacing) -> None:
    found = frame_attributes(heart(spacing, 12), ALL, spacing)
    finest = frame_attributes(heart((0.2, 0.2), 12), ALL, (0.2, 0.2))
    tolerance = dict(lv_area_cm2=0.05, myo_area_cm2=0.05, lv_base_width_mm=0.7, lv_length_mm=0.5)
    for key, value in finest.items():
        assert found[key] == pytest.approx(value, abs=tolerance.get(key, 0.2)), key


def test_structures_decide_what_is_measured() -> None:
    labels = heart()
    full = frame_attributes(labels, ALL, SPACING)
    alone = frame_attributes((labels == 1).astype(np.uint8), ("lv",), SPACING)
    assert alone == {key: full[key] for key in alone}
    assert set(alone) == {"lv_area_cm2", "lv_orientation_deg", "lv_base_width_mm", "lv_length_mm"}
    wall = frame_attributes((labels == 2).astype(np.uint8), ("myo",), SPACING)
    assert wall == {"myo_area_cm2": full["myo_area_cm2"]}
    other = np.choose(labels, [0, 2, 0, 1])  # la and lv, the wall left out
    assert frame_attributes(other, ("la", "lv"), SPACING) == alone
    assert measurable(("la",)) == ()


def test_what_cannot_be_measured_is_nan() -> None:
    labels = heart()
    nothing = frame_attributes(np.zeros_like(labels), ALL, SPACING)
    assert np.isnan(list(nothing.values())).all()
    assert len(nothing) == 7
    without_lv = frame_attributes(np.where(labels == 1, 0, labels), ALL, SPACING)
    assert {key for key, value in without_lv.items() if np.isnan(value)} == {
        one.key for one in ATTRIBUTES if one.name != "myo_area"
    }
    without_wall = frame_attributes(np.where(labels == 2, 0, labels), ALL, SPACING)
    assert {key for key, value in without_wall.items() if np.isnan(value)} == {
        one.key for one in ATTRIBUTES if "myo" in one.needs
    }
    specks = np.where(labels == 1, 0, labels)
    specks[::8, ::8] = 1  # in sum an area, but no piece of 1 cm2
    broken = frame_attributes(specks, ALL, SPACING)
    assert broken["lv_area_cm2"] > 1
    assert np.isnan([broken["lv_base_width_mm"], broken["lv_length_mm"]]).all()
    square = frame_attributes(rectangle(slice(0, 40), slice(0, 40)), ALL, (1, 1))
    assert np.isnan(square["lv_orientation_deg"])


def test_films_are_frames_in_a_row() -> None:
    film = np.stack([heart(lean_deg=lean) for lean in (0, 5, 10)])
    found = film_attributes(film, ALL, SPACING)
    assert found["lv_orientation_deg"] == pytest.approx([0, 5, 10], abs=0.2)
    assert film_attributes(film[:1], ALL, SPACING)["lv_length_mm"].shape == (1,)
    assert columns([]) == {}
    mixed = [{"lv_area_cm2": 1.0, "lv_length_mm": 2.0}, {"lv_area_cm2": 3.0}]
    assert {key: list(v) for key, v in columns(mixed).items()} == {"lv_area_cm2": [1, 3]}


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(DataError, match="wanted one frame"):
        frame_attributes(np.zeros((2, 5, 5), np.uint8), ALL, SPACING)
    with pytest.raises(DataError, match="wanted two positive numbers"):
        frame_attributes(heart(), ALL, (0, 1))


def test_real_hearts_are_within_what_is_published(shared) -> None:
    """20 patients, ED and ES, against the ranges that a hundred patients' films span."""
    found = []
    for folder in sorted((shared / "data/camus_mini/database_nifti").iterdir())[:20]:
        for instant in ("ED", "ES"):
            path = folder / f"{folder.name}_4CH_{instant}_gt.nii.gz"
            volume = read_volume(path, label=True)
            found.append(frame_attributes(volume.array[0], ALL, volume.spacing))
    values = columns(found)
    assert not np.isnan(list(values.values())).any()
    areas = values["lv_area_cm2"]
    assert (areas[::2] > areas[1::2]).all()  # ED before ES
    ranges = dict(lv_area_cm2=(8, 63), myo_area_cm2=(11, 41), lv_orientation_deg=(-22, 42))
    ranges |= dict(lv_base_width_mm=(16, 54), lv_length_mm=(46, 107))
    for key, (low, high) in ranges.items():
        assert low <= values[key].min() <= values[key].max() <= high, key


def test_both_layouts_of_a_real_patient_measure_the_same(shared) -> None:
    """The older files have twice as many rows as those of 2023."""
    found = []
    for folder, suffix in (
        ("camus_mini/database_nifti", ".nii.gz"),
        ("camus_mhd/training", ".mhd"),
    ):
        path = shared / "data" / folder / "patient0001" / f"patient0001_4CH_ED_gt{suffix}"
        if not path.is_file():
            pytest.skip("patient0001 is not there in both layouts")
        volume = read_volume(path, label=True)
        found.append((volume.spacing, frame_attributes(volume.array[0], ALL, volume.spacing)))
    (new_grid, new), (old_grid, old) = found
    assert new_grid[0] == pytest.approx(2 * old_grid[0], rel=0.01)
    for key, value in new.items():
        assert old[key] == pytest.approx(value, rel=0.02, abs=0.5), key
