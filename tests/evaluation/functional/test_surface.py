from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance
from scipy.ndimage import binary_dilation

from echozoo.errors import DataError
from echozoo.evaluation.functional import assd_mm, hd95_mm, hd_mm, hd_px, surface_distances

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning:monai")
SPACING = (0.5, 2.0)  # mm, rows four times as dense as columns


def box(top: int, bottom: int, left: int, right: int, size=(60, 70)) -> np.ndarray:
    mask = np.zeros(size, bool)
    mask[top:bottom, left:right] = True
    return mask


def disc(radius: float, centre=(100, 120), size=(220, 240)) -> np.ndarray:
    y, x = np.ogrid[: size[0], : size[1]]
    return (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2


def random_masks(kind: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    if kind == "noise":
        return tuple(rng.random((2, 40, 52)) < 0.3)
    if kind == "sparse":
        return tuple(rng.random((2, 40, 52)) < 0.004)
    blobs = np.stack([disc(r, c, (90, 100)) for r, c in ((20, (40, 50)), (25, (50, 45)))])
    flips = rng.random(blobs.shape) < 0.002
    return tuple(blobs ^ flips)


@pytest.mark.parametrize(("shift", "millimetres"), [((4, 0), 2), ((0, 3), 6), ((6, 2), 5)])
def test_a_shift_by_rows_and_columns_is_measured_in_mm(shift, millimetres) -> None:
    reference = box(10, 30, 10, 30)
    prediction = np.roll(reference, shift, axis=(0, 1))
    assert hd_mm(prediction, reference, SPACING) == pytest.approx(millimetres)


def test_concentric_discs_are_the_difference_of_radii_apart() -> None:
    distances = surface_distances(disc(60), disc(50), (0.3, 0.3))
    assert distances.hd == pytest.approx(3.0, abs=0.3)
    assert distances.hd95 == pytest.approx(3.0, abs=0.3)
    assert distances.assd == pytest.approx(3.0, abs=0.15)


def test_two_pixels_have_a_distance_that_can_be_written_down() -> None:
    one, other = box(10, 11, 10, 11), box(13, 14, 12, 13)
    expected = math.hypot(3 * 0.5, 2 * 2.0)
    assert surface_distances(one, other, SPACING) == pytest.approx((expected,) * 3)


def test_hd95_is_the_larger_directed_percentile_and_assd_pools_both_directions() -> None:
    reference = box(10, 11, 10, 60)  # a line of 50 pixels
    prediction = reference.copy()
    prediction[30, 10:13] = True  # and three pixels 20 rows below
    distances = surface_distances(prediction, reference)
    there, back = [0.0] * 50 + [20.0] * 3, [0.0] * 50
    assert distances.hd == 20
    assert distances.hd95 == pytest.approx(np.percentile(there, 95))
    assert distances.hd95 != pytest.approx(np.percentile(there + back, 95))
    assert distances.assd == pytest.approx(60 / 103)


def test_the_image_border_is_a_boundary() -> None:
    assert hd_mm(box(0, 60, 0, 70), box(0, 60, 0, 68), SPACING) == pytest.approx(4.0)


def test_equal_masks_are_at_no_distance_and_order_does_not_matter() -> None:
    one, other = random_masks("blobs")
    assert surface_distances(one, one, SPACING) == (0.0, 0.0, 0.0)
    swapped = surface_distances(other, one, SPACING)
    assert surface_distances(one, other, SPACING) == pytest.approx(swapped)


def test_an_empty_mask_is_nan() -> None:
    empty, full = np.zeros((60, 70), bool), box(10, 20, 10, 20)
    for pair in ((empty, full), (full, empty), (empty, empty)):
        assert all(math.isnan(value) for value in surface_distances(*pair, SPACING))
        assert math.isnan(hd_px(*pair))


def test_masks_of_two_sizes_are_refused() -> None:
    with pytest.raises(DataError, match="one size"):
        hd_px(np.ones((256, 256), bool), np.ones((60, 70), bool))


@pytest.mark.parametrize("kind", ["noise", "sparse", "blobs"])
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.308, 0.154), (0.2, 1.7)])
def test_equals_monai_on_random_masks(kind: str, spacing: tuple[float, float]) -> None:
    prediction, reference = random_masks(kind)
    tensors = [torch.from_numpy(mask)[None, None] for mask in (prediction, reference)]
    options = {"include_background": True, "spacing": list(spacing)}
    expected = {
        hd_mm: compute_hausdorff_distance(*tensors, **options),
        hd95_mm: compute_hausdorff_distance(*tensors, percentile=95, **options),
        assd_mm: compute_average_surface_distance(*tensors, symmetric=True, **options),
    }
    for measure, theirs in expected.items():
        ours = measure(prediction, reference, spacing)
        assert ours == pytest.approx(theirs.item(), abs=1e-4), measure.__name__


def test_hd_px_is_measured_on_256_squared() -> None:
    # Twice the published grid in height, four times in width: 8 rows are 4 px, 8 columns 2.
    reference = box(100, 300, 200, 600, size=(512, 1024))
    assert hd_px(np.roll(reference, 8, axis=0), reference) == 4
    assert hd_px(np.roll(reference, 8, axis=1), reference) == 2


def test_hd_px_of_a_structure_lost_in_resizing_is_nan() -> None:
    speck = box(0, 1, 0, 1, size=(1024, 1024))
    assert math.isnan(hd_px(speck, speck))


def test_a_dilated_real_mask_lies_as_far_out_as_it_was_dilated(shared) -> None:
    sitk = pytest.importorskip("SimpleITK")
    folder = shared / "data/camus_mini/database_nifti"
    for path in sorted(folder.glob("*/*_ED_gt.nii.gz"))[:3]:
        image = sitk.ReadImage(str(path))
        spacing = image.GetSpacing()[1::-1]
        lv = sitk.GetArrayFromImage(image).squeeze() == 1
        grown = binary_dilation(lv, iterations=6)  # city-block steps: 6 straight, fewer askew
        distances = surface_distances(grown, lv, spacing)
        assert distances.hd == pytest.approx(6 * spacing[0], abs=1e-6)
        assert 6 / math.sqrt(2) * spacing[0] <= distances.assd <= distances.hd95 <= distances.hd


@pytest.mark.parametrize("size", [(300, 190), (120, 500)])
def test_hd_px_is_the_distance_of_the_resized_masks(size: tuple[int, int]) -> None:
    masks = disc(50, (60, 90), size), disc(40, (70, 100), size)
    resized = [
        torch.nn.functional.interpolate(
            torch.from_numpy(mask)[None, None].float(), (256, 256), mode="nearest-exact"
        )[0, 0].numpy()
        for mask in masks
    ]
    assert hd_px(*masks) == surface_distances(*resized).hd
