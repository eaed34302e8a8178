"""Results as DICOM objects that refer to their source: a segmentation, a measurement report.

They are written by highdicom, an optional package. Both belong to the source's study, in series of
their own; their identifiers are made from the source's, so that the same result has the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from echozoo.errors import DataError, EchoZooError, StorageError

_MAKER = "echozoo"
# Of the source, what an object copies and what may be absent or empty there.
_COPIED = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyInstanceUID"),
    *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
)
_NEEDED = ("SOPInstanceUID", "SOPClassUID", "StudyInstanceUID")
_SERIES = {"segmentation": 900, "report": 901}


def need_highdicom() -> None:
    """Check that the objects can be written.

    Raises:
        EchoZooError: highdicom is not installed.
    """
    try:
        import highdicom  # noqa: F401
    except ImportError as error:
        raise EchoZooError(
            "DICOM objects need highdicom: pip install 'echozoo[dicom-objects]'"
        ) from error


def write_segmentation(
    path: Path,
    source: Path,
    labels: np.ndarray,
    structures: Sequence[tuple[int, str, str]],
    spacing: tuple[float, float] | None,
    model: str,
    version: str,
) -> None:
    """Write label maps as a DICOM segmentation, whose frames refer to those of the source.

    Args:
        path: The file to write.
        source: The DICOM file that was segmented.
        labels: (T, H, W) uint8 of all of the image.
        structures: Label, name and keyword of the SNOMED CT code of each structure.
        spacing: (dy, dx) mm, or None.
        model: What segmented it.
        version: Of echozoo.

    Raises:
        DataError: The source has no identifiers to refer to, or nothing was found in it.
        StorageError: The file cannot be written.
    """
    import highdicom as hd
    from pydicom.sr.codedict import codes

    data = _source(source)
    _put_in_space(data, len(labels), spacing or (1.0, 1.0))
    algorithm = hd.AlgorithmIdentificationSequence(
        name=model, version=version, family=codes.DCM.ArtificialIntelligence
    )
    found = [one for one in structures if (labels == one[0]).any()]
    if not found:
        raise DataError(f"{source}: nothing was found in it: no DICOM segmentation")
    segments = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=name,
            segmented_property_category=codes.SCT.AnatomicalStructure,
            segmented_property_type=getattr(codes.SCT, keyword),
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
        )
        for number, (_, name, keyword) in enumerate(found, 1)
    ]
    numbers = np.zeros(256, np.uint8)
    for number, (label, _, _) in enumerate(found, 1):
        numbers[label] = number
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = hd.seg.Segmentation(
            source_images=[data],
            pixel_array=numbers[labels],
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=segments,
            manufacturer=_MAKER,
            manufacturer_model_name=model,
            software_versions=version,
            device_serial_number="0",
            content_description="automatic segmentation, research only",
            **_identifiers(data, "segmentation", f"{model} {version}"),
        )
    _save(made, path)


def write_report(
    path: Path,
    sources: Sequence[Path],
    numbers: Mapping[str, float],
    method: str,
    model: str,
    version: str,
) -> None:
    """Write volumes and ejection fraction as a DICOM measurement report (TID 1500).

    Args:
        path: The file to write.
        sources: The DICOM files that were measured.
        numbers: "EF" in %, and "EDV" and "ESV" in ml where they are known.
        method: "biplane", "single-plane 2CH" or "single-plane 4CH".
        model: What segmented them.
        version: Of echozoo.

    Raises:
        DataError: A source has no identifiers to refer to.
        StorageError: The file cannot be written.
    """
    import highdicom as hd
    from pydicom.sr.codedict import codes

    data = [_source(source) for source in sources]
    end = {"biplane": "BiplaneMOD"}.get(method, f"SinglePlane{method[-3:-1]}MOD")
    millilitre = hd.sr.CodedConcept("ml", "UCUM", "milliliter")
    named = {
        "EF": ("LeftVentricularEjectionFraction", codes.UCUM.Percent),
        "EDV": ("LeftVentricularEndDiastolicVolume", millilitre),
        "ESV": ("LeftVentricularEndSystolicVolume", millilitre),
    }
    measured = [
        hd.sr.Measurement(
            name=getattr(codes.LN, named[key][0] + end),
            value=round(value, 3),
            unit=named[key][1],
            algorithm_id=hd.sr.AlgorithmIdentification(name=model, version=version),
        )
        for key, value in numbers.items()
    ]
    group = hd.sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=hd.sr.TrackingIdentifier(
            uid=_uid("tracking", model, *(one.SOPInstanceUID for one in data)),
            identifier="left ventricle",
        ),
        finding_sites=[hd.sr.FindingSite(codes.SCT.LeftVentricle)],
        measurements=measured,
        source_images=[hd.sr.SourceImageForMeasurementGroup.from_source_image(one) for one in data],
    )
    device = hd.sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=hd.sr.DeviceObserverIdentifyingAttributes(
            uid=_uid(_MAKER, version), name=_MAKER, model_name=model
        ),
    )
    report = hd.sr.MeasurementReport(
        observation_context=hd.sr.ObservationContext(observer_device_context=device),
        procedure_reported=codes.SCT.TransthoracicEchocardiography,
        imaging_measurements=[group],
        title=codes.DCM.ImagingMeasurementReport,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = hd.sr.EnhancedSR(
            evidence=data,
            content=report[0],
            manufacturer=_MAKER,
            **_identifiers(data[0], "report", f"{model} {version}"),
        )
    _save(made, path)


def _source(path: Path) -> Any:
    """A source's header, with what an object copies, empty where it is absent."""
    import pydicom

    try:
        data = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        missing = [key for key in _NEEDED if not data.get(key)]
    except Exception as error:
        raise DataError(f"{path}: not readable as DICOM ({error})") from error
    if missing:
        raise DataError(f"{path}: has no {missing[0]}, which a DICOM object of it refers to")
    for key in _COPIED:
        if key not in data:
            setattr(data, key, "")
    if not data.get("SeriesInstanceUID"):
        data.SeriesInstanceUID = _uid("series", data.SOPInstanceUID)
    return data


def _put_in_space(data: Any, frames: int, spacing: tuple[float, float]) -> None:
    """Give a film the places in space that a segmentation of several frames has to have.

    Ultrasound films have none: their frames come to lie 1 mm behind each other, as in the NIfTI
    files, in a frame of reference of their own.
    """
    import highdicom as hd
    from pydicom.dataset import Dataset

    data.FrameOfReferenceUID = _uid("space", data.SOPInstanceUID)
    data.NumberOfFrames = frames
    shared = Dataset()
    shared.PixelMeasuresSequence = hd.PixelMeasuresSequence(
        pixel_spacing=spacing, slice_thickness=1.0, spacing_between_slices=1.0
    )
    shared.PlaneOrientationSequence = hd.PlaneOrientationSequence("PATIENT", (1, 0, 0, 0, 1, 0))
    data.SharedFunctionalGroupsSequence = [shared]
    data.PerFrameFunctionalGroupsSequence = []
    for frame in range(frames):
        one = Dataset()
        one.PlanePositionSequence = hd.PlanePositionSequence("PATIENT", (0, 0, frame))
        data.PerFrameFunctionalGroupsSequence.append(one)


def _identifiers(data: Any, kind: str, maker: str) -> dict[str, Any]:
    return {
        "series_instance_uid": _uid("series", kind, maker, data.StudyInstanceUID),
        "series_number": _SERIES[kind],
        "sop_instance_uid": _uid(kind, maker, data.SOPInstanceUID),
        "instance_number": max(1, int(data.get("InstanceNumber") or 1)),
    }


def _uid(*words: str) -> str:
    from pydicom.uid import generate_uid

    return generate_uid(entropy_srcs=[str(word) for word in words])


def _save(made: Any, path: Path) -> None:
    try:
        made.save_as(path)
    except OSError as error:
        raise StorageError.of(path, error) from error
