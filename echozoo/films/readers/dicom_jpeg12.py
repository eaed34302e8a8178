"""JPEG of 12 bits (Extended, Process 4) for pydicom: a decoder by python-gdcm, which can do it.

pydicom's own way to python-gdcm is closed for these files, and Pillow reads 8 bits alone.
"""

from __future__ import annotations

from typing import Any


def is_available(uid: str) -> bool:
    """Whether python-gdcm is installed; as pydicom asks its plugins."""
    try:
        import gdcm  # noqa: F401
    except ImportError:
        return False
    return uid in DECODER_DEPENDENCIES


DECODER_DEPENDENCIES = {"1.2.840.10008.1.2.4.51": ("gdcm>=3.0",)}
"""What pydicom names where it is not."""


def decode_frame(data: bytes, runner: Any) -> bytes:
    """Decode one frame.

    Raises:
        ValueError: It cannot be decoded.
    """
    import gdcm

    fragment, fragments = gdcm.Fragment(), gdcm.SequenceOfFragments.New()
    fragment.SetByteStringValue(data)
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((runner.columns, runner.rows, 1))
    image.SetDataElement(element)
    colours = gdcm.PhotometricInterpretation.GetPIType(str(runner.photometric_interpretation))
    image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(colours))
    if runner.samples_per_pixel > 1:
        image.SetPlanarConfiguration(runner.planar_configuration)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(
        gdcm.PixelFormat(
            *(runner.samples_per_pixel, runner.bits_allocated, runner.bits_stored),
            *(runner.bits_stored - 1, runner.pixel_representation),
        )
    )
    pixels = image.GetBuffer()
    if pixels is None:
        raise ValueError("a frame is no whole JPEG of 12 bits")
    return pixels.encode("utf-8", "surrogateescape")  # it gives bytes as text
