"""What is known of a file without its pixels."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from echozoo.films.files import opened
from echozoo.films.geometry import Geometry
from echozoo.films.readers.metaimage_header import read_meta_header
from echozoo.films.readers.nifti import read_nifti_header


class VolumeHeader(NamedTuple):
    """The grid of a NIfTI or MetaImage file: (T, H, W), and where it lies, None where unknown."""

    shape: tuple[int, int, int]
    geometry: Geometry | None


def read_volume_header(path: Path) -> VolumeHeader | None:
    """Read the grid of a NIfTI or MetaImage file; None for another kind, which has none.

    Raises:
        DataError: The file is absent, or its header is damaged.
    """
    with opened(path) as file:
        if file.kind == "nifti":
            header = read_nifti_header(file)
            return VolumeHeader(header.shape[::-1], header.about["geometry"])
        if file.kind == "metaimage":
            meta = read_meta_header(file)
            return VolumeHeader(meta.shape, meta.about["geometry"])
    return None


def source_files(path: Path) -> tuple[Path, ...]:
    """The files that hold an image: itself and the data files that a MetaImage header names.

    Raises:
        DataError: The file is absent or empty, or a data file is absent.
    """
    with opened(path) as file:
        return (path, *(read_meta_header(file).files if file.kind == "metaimage" else ()))
