"""What becomes of a DICOM frame's stored values, by what its header says."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from echozoo.films.files import FilmFile
from echozoo.films.readers import dicom_header as heads
from echozoo.films.readers.dicom_data import reading

_JPEG_BASELINE, _JPEG_EXTENDED = "1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"
_OWN = "echozoo"  # our decoder's name among pydicom's plugins
# JPEG, JPEG-LS and JPEG 2000 that are not told to be lossless.
_LOSSY = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 81, 91, 93, 203)}


def decoder_of(options: dict[str, Any]) -> tuple[Any, str]:
    """The decoder of pydicom for a transfer syntax, and which of its plugins, "" for any.

    python-gdcm ends the process at some JPEG files that Pillow calls damaged, so that Pillow has
    them where it can read them: those of 8 bits.

    Raises:
        NotImplementedError: There is none.
    """
    from pydicom.pixels import get_decoder

    syntax = options["transfer_syntax_uid"]
    decoder = get_decoder(syntax)
    if syntax == _JPEG_EXTENDED and options["bits_stored"] > 8:
        _add_jpeg12(decoder)
        return decoder, _OWN
    return decoder, "pillow" if syntax in (_JPEG_BASELINE, _JPEG_EXTENDED) else ""


@functools.cache  # pydicom refuses a second one of the name
def _add_jpeg12(decoder: Any) -> None:
    decoder.add_plugin(_OWN, ("echozoo.films.readers.dicom_jpeg12", "decode_frame"))


class PixelRule:
    """Turns a decoded frame into values (H, W) or RGB, by what the header says.

    Args:
        file: Its file.
        header: The data set.
        options: What pydicom's decoders are told, see `open_dicom`.

    Attributes:
        depth: Bits of what comes out.
        converted: What is made of the stored values on the way, see `FrameSource`.
        inverse: Whether 0 is white.
    """

    def __init__(self, file: FilmFile, header: Any, options: dict[str, Any]) -> None:
        self.header, self.depth, self.converted = header, options["bits_stored"], ""
        self.inverse = False
        self._steps: list[Callable[[np.ndarray], np.ndarray]] = []
        self._file = file
        photometric = options["photometric_interpretation"]
        if photometric == "PALETTE COLOR":
            self._add(self._palette, "palette")
            self.depth = 16
        elif options["samples_per_pixel"] == 1:
            self._add_display(photometric == "MONOCHROME1")
        if options["transfer_syntax_uid"] in _LOSSY:
            self.converted = self.converted or "compressed with losses"

    def __call__(self, frame: np.ndarray, photometric: str) -> np.ndarray:
        """Values (H, W) or RGB (H, W, 3) of a frame as pydicom decoded it."""
        if frame.ndim == 3 and photometric.startswith("YBR"):
            return frame[..., 0]  # pydicom left it as it was: its first value is the luminance
        with reading(self._file):
            for step in self._steps:
                frame = step(frame)
        return frame

    def _add(self, step: Callable[[np.ndarray], np.ndarray], name: str) -> None:
        self._steps.append(step)
        self.converted = name

    def _palette(self, frame: np.ndarray) -> np.ndarray:
        from pydicom.pixels import apply_color_lut

        colours = apply_color_lut(frame, self.header)
        return colours[..., :3]

    def _add_display(self, inverse: bool) -> None:
        """Rescale, window and inversion, where the header has them."""
        from pydicom.pixels import apply_modality_lut

        header = self.header
        scale = tuple(heads.number(header, f"Rescale{part}") for part in ("Slope", "Intercept"))
        if header.get("ModalityLUTSequence") or (None not in scale and scale != (1.0, 0.0)):
            self._add(lambda frame: apply_modality_lut(frame, header), "rescaled")
        widths, centres = (heads.numbers(header, f"Window{end}") for end in ("Width", "Center"))
        windowed = len(widths) == len(centres) > 0 and min(widths) >= 1
        if windowed or header.get("VOILUTSequence"):
            self._add(self._window, "windowed")
            self.depth = 8
        self.inverse = inverse
        if inverse:
            self.converted = "inverted"

    def _window(self, frame: np.ndarray) -> np.ndarray:
        """Apply the header's window or table; what it spans becomes 0 to 255."""
        from pydicom.pixels import apply_voi_lut, apply_windowing

        tables = self.header.get("VOILUTSequence")
        if tables:
            darkest, brightest = 0, 2 ** tables[0].LUTDescriptor[2] - 1
        else:
            darkest, brightest = apply_windowing(np.array([-1e12, 1e12]), self.header)
        shown = apply_voi_lut(frame, self.header)
        return np.clip((shown - darkest) * (255 / (brightest - darkest)), 0, 255)
