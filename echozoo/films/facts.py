"""What a DICOM header says of a file besides its pixels: whose it is, what it shows, and where."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from echozoo.errors import DataError, EchoZooError
from echozoo.films.files import FilmFile, opened
from echozoo.films.geometry import believed_spacing
from echozoo.films.readers import dicom_header as heads

_ELEMENTS = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID"),
    *("Modality", "ImageType", "Rows", "Columns", "SequenceOfUltrasoundRegions"),
    *("ViewCodeSequence", "SeriesDescription", "ProtocolName", "StageName", "ViewName"),
)
SPATIAL_FORMATS = {1: "2-D", 2: "M-mode", 3: "a spectrum", 4: "a wave form", 5: "graphics"}
"""RegionSpatialFormat, as DICOM PS3.3 C.8.5.5.1.1 numbers it."""
TISSUE, COLOUR_FLOW = 1, 2
"""RegionDataType of grey tissue and of colour flow (C.8.5.5.1.2)."""
# The bits of the fourth value of ImageType (C.8.5.6.1.1).
_MODES = {
    0x0002: "M-mode",
    0x0004: "a CW spectrum",
    0x0008: "a PW spectrum",
    0x0010: "colour Doppler",
    0x0020: "colour M-mode",
    0x0040: "a rendering of 3-D",
    0x0100: "colour power Doppler",
}
_CENTIMETRES, _2D = 3, 1


class Region(NamedTuple):
    """An ultrasound region: rows ``top`` to ``bottom - 1``, columns ``left`` to ``right - 1``.

    All four are 0 where the image has no such pixels.
    """

    top: int
    left: int
    bottom: int
    right: int
    spatial_format: int
    data_type: int
    spacing: tuple[float, float] | None


@dataclass(frozen=True)
class Facts:
    """What a header says; "" and () where it is silent.

    Attributes:
        kind: Name of the file's SOP class.
        has_pixels: Whether it is an image.
        size: (H, W).
        modality: "US" for ultrasound.
        modes: What the image type names besides a 2-D image, as "M-mode".
        regions: Its ultrasound regions.
        patient: PatientID.
        study: StudyInstanceUID.
        instance: SOPInstanceUID.
        views: Texts that may name the view: the meaning of ViewCodeSequence first.
    """

    kind: str = ""
    has_pixels: bool = True
    size: tuple[int, int] = (0, 0)
    modality: str = ""
    modes: tuple[str, ...] = ()
    regions: tuple[Region, ...] = ()
    patient: str = ""
    study: str = ""
    instance: str = ""
    views: tuple[str, ...] = ()

    @property
    def tissue_regions(self) -> list[Region]:
        """The 2-D regions of grey tissue that lie in the image, the largest first."""
        found = [one for one in self.regions if one.spatial_format == _2D and one.bottom > 0]
        tissue = [one for one in found if one.data_type == TISSUE]
        return sorted(tissue, key=lambda one: -(one.bottom - one.top) * (one.right - one.left))


def read_facts(path: str | Path) -> Facts | None:
    """Read what a DICOM file says of itself; None for a file of another kind.

    A header that cannot be read says nothing: opening the film tells what is wrong with it.

    Raises:
        DataError: The file is absent or empty, or of no known kind.
    """
    with opened(Path(path)) as file:
        if file.kind != "dicom":
            return None
        try:
            return _facts(_header(file.unpacked()))
        except (EchoZooError, ImportError):
            return None


def _header(file: FilmFile) -> Any:
    import pydicom

    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    try:
        file.stream.seek(0)
        return pydicom.dcmread(
            file.stream, stop_before_pixels=True, force=True, specific_tags=[*_ELEMENTS]
        )
    except Exception as error:
        raise DataError(f"{file.path}: not readable as DICOM ({error})") from error


def _facts(header: Any) -> Facts:
    meta = getattr(header, "file_meta", {})
    size = heads.whole(header, "Rows", 0), heads.whole(header, "Columns", 0)
    kind = heads.text(header, "SOPClassUID") or heads.text(meta, "MediaStorageSOPClassUID")
    return Facts(
        kind=_name(kind),
        has_pixels=min(size) > 0,
        size=size,
        modality=heads.text(header, "Modality"),
        modes=tuple(_modes(header)),
        regions=tuple(_regions(header)),
        patient=heads.text(header, "PatientID"),
        study=heads.text(header, "StudyInstanceUID"),
        instance=heads.text(header, "SOPInstanceUID"),
        views=tuple(_views(header)),
    )


def _name(uid: str) -> str:
    from pydicom.uid import UID

    with contextlib.suppress(Exception):
        return str(UID(uid).name)
    return uid


def _modes(header: Any) -> Iterator[str]:
    with contextlib.suppress(Exception):
        bits = int(str(header.ImageType[3]), 16)
        yield from (name for bit, name in _MODES.items() if bits & bit)


def _regions(header: Any) -> Iterator[Region]:
    size = heads.whole(header, "Rows", 0), heads.whole(header, "Columns", 0)
    with contextlib.suppress(Exception):
        for one in header.SequenceOfUltrasoundRegions:
            left, top, right, bottom = (
                heads.whole(one, f"RegionLocation{corner}", -1)
                for corner in ("MinX0", "MinY0", "MaxX1", "MaxY1")
            )
            # Some write the last pixel, some the one after it. Beyond that, the image was made
            # smaller after its regions were written: they are nowhere.
            inside = 0 <= left < right <= size[1] and 0 <= top < bottom <= size[0]
            box = (top, left, min(bottom + 1, size[0]), min(right + 1, size[1]))
            yield Region(
                *(box if inside else (0, 0, 0, 0)),
                heads.whole(one, "RegionSpatialFormat", 0),
                heads.whole(one, "RegionDataType", 0),
                _spacing(one),
            )


def _spacing(region: Any) -> tuple[float, float] | None:
    units = {heads.whole(region, f"PhysicalUnits{axis}Direction", 0) for axis in "XY"}
    steps = [heads.number(region, f"PhysicalDelta{axis}") for axis in "YX"]
    if units != {_CENTIMETRES} or None in steps:
        return None
    return believed_spacing([round(10 * step, 9) for step in steps], [])


def _views(header: Any) -> Iterator[str]:
    with contextlib.suppress(Exception):
        for code in header.ViewCodeSequence:
            yield heads.text(code, "CodeMeaning")
    for key in ("ViewName", "SeriesDescription", "ProtocolName", "StageName"):
        if found := heads.text(header, key):
            yield found
