"""Films of every kind of file, for tests."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image


def moving_disc(frames: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Films (T, H, W) uint8 with a bright disc that grows and moves over noise."""
    rows, columns = np.indices(size)
    rng = np.random.default_rng(seed)
    film = rng.integers(0, 40, (frames, *size))
    for t, frame in enumerate(film):
        radius = min(size) / 5 + 2 * np.sin(t / 3)
        inside = np.hypot(rows - size[0] / 2 - t % 5, columns - size[1] / 2) < radius
        frame[inside] += 170
    return film.astype(np.uint8)


def write_itk(path: Path, array: np.ndarray, odd: bool = False) -> Path:
    """A film or an image as ITK writes it, with a geometry of its own where that is odd."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((0.31, 0.154, 1.5)[: image.GetDimension()])
    if odd:
        image.SetOrigin((3.5, -7, 11))
        image.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))
    sitk.WriteImage(image, str(path))
    return path


def write_dicom(path: Path, frames: np.ndarray, region: dict | None = None, **tags: object) -> None:
    """An uncompressed multi-frame ultrasound image; frames (T, H, W) or (T, H, W, 3) uint8."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = UltrasoundMultiFrameImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
    colour = frames.ndim == 4
    data.NumberOfFrames, data.Rows, data.Columns = frames.shape[:3]
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    data.PixelData = frames.tobytes()
    if region is not None:
        one = Dataset()
        one.RegionSpatialFormat = one.RegionDataType = 1
        one.RegionLocationMinX0 = one.RegionLocationMinY0 = 0
        one.RegionLocationMaxX1, one.RegionLocationMaxY1 = frames.shape[2] - 1, frames.shape[1] - 1
        one.PhysicalUnitsXDirection = one.PhysicalUnitsYDirection = 3
        for key, value in region.items():
            setattr(one, key, value)
        data.SequenceOfUltrasoundRegions = [one]
    for key, value in tags.items():
        setattr(data, key, value)
    data.save_as(path, enforce_file_format=True)


def encapsulate(
    path: Path, syntax: str, pieces: list[bytes] | None = None, fragments: int = 1
) -> None:
    """Compress the pixels of an uncompressed DICOM file.

    Args:
        path: The file.
        syntax: A transfer syntax as pydicom names it.
        pieces: Its pixels, compressed; by default a JPEG of each frame.
        fragments: In how many each of them is.
    """
    import pydicom
    from pydicom.encaps import encapsulate as encapsulated

    data = pydicom.dcmread(path)
    pieces = pieces or [_jpeg(frame) for frame in data.pixel_array]
    data.PixelData = encapsulated(pieces, fragments_per_frame=fragments)
    data.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB"
    data.save_as(path)


def transcode(path: Path, name: str) -> None:
    """Write a file anew in another transfer syntax, by python-gdcm."""
    gdcm = pytest.importorskip("gdcm")
    reader, change = gdcm.ImageReader(), gdcm.ImageChangeTransferSyntax()
    reader.SetFileName(str(path))
    assert reader.Read()
    change.SetTransferSyntax(gdcm.TransferSyntax(getattr(gdcm.TransferSyntax, name)))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()


def _jpeg(frame: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=95)
    return file.getvalue()


def write_video(
    file: Path | BinaryIO,
    frames: np.ndarray,
    rate: int = 25,
    codec: str = "libx264",
    format: str | None = None,
    pixels: str = "yuv420p",
    times: list[int] | None = None,
    options: dict[str, str] | None = None,
) -> None:
    """A video of frames (T, H, W) or (T, H, W, 3), at a rate or at times of their own in ms."""
    av = pytest.importorskip("av")
    with av.open(str(file) if isinstance(file, Path) else file, "w", format) as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = pixels
        if times:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        for number, frame in enumerate(frames):
            rgb = np.repeat(frame[..., None], 3, axis=-1) if frame.ndim == 2 else frame
            picture = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            if times:
                picture.pts, picture.time_base = times[number], Fraction(1, 1000)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
