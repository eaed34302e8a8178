"""Still pictures, PNG and JPEG alone, by Pillow."""

from __future__ import annotations

import warnings

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from echozoo.errors import DataError
from echozoo.films.files import FilmFile
from echozoo.films.readers.source import COLOUR_NOTE, FrameSource

_FORMATS = ("PNG", "JPEG")  # Pillow knows some that start other programs
_ORIENTATION = 274  # EXIF's tag; its values say how the stored rows and columns are to be turned
_TURNS = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: np.swapaxes(pixels, 0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.swapaxes(np.rot90(pixels, 2), 0, 1),
    8: np.rot90,
}


def open_picture(file: FilmFile) -> FrameSource:
    """Open a PNG or JPEG file as a film of one frame, turned as its EXIF orientation says.

    Raises:
        DataError: It is no whole picture, or too large.
    """
    file, notes = file.unpacked(), []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its size is checked below
            with Image.open(file.stream, formats=_FORMATS) as image:
                file.check_pixels(1, (image.height, image.width), 4)
                pixels, converted = _values(file, image)
                if image.format != "PNG":
                    converted = converted or "JPEG"
                elif getattr(image, "is_animated", False):
                    notes.append(f"an animation of {image.n_frames} pictures: the first is taken")
                pixels = _TURNS.get(_orientation(image), np.asarray)(pixels)
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, UnidentifiedImageError, OverflowError) as error:
        reason = " ".join(str(error).split())[:160]
        if isinstance(error, UnidentifiedImageError):
            reason = "of no known kind, or damaged"
        raise DataError(
            f"{file.path}: not readable as a picture ({reason}); copy it again"
        ) from error
    except Image.DecompressionBombError as error:
        raise DataError(f"{file.path}: {' '.join(str(error).split())}") from error
    return FrameSource(
        *(1, pixels.shape[:2], lambda a, b: pixels[None][a:b], pixels.dtype),
        depth=16 if pixels.dtype == np.uint16 else 8,
        converted=converted,
        notes=[*notes, COLOUR_NOTE] if pixels.ndim == 3 else notes,
    )


def _values(file: FilmFile, image: Image.Image) -> tuple[np.ndarray, str]:
    """The pixels (H, W) or (H, W, 3) of 8 or 16 bits, and what was made of the stored ones."""
    stored = str(image.tile[0][-1]) if image.tile else ""  # how the file's bytes are laid out
    image.load()
    if image.mode.startswith("I"):
        return np.asarray(image).astype(np.uint16), ""
    if ";16" in stored:  # Pillow drops the lower 8 bits of colours
        file.stream.seek(0)
        packed = np.frombuffer(file.stream.read(), np.uint8)
        pixels = cv2.imdecode(packed, cv2.IMREAD_UNCHANGED)  # BGR(A)
        if pixels is None or pixels.ndim != 3:
            raise ValueError("its 16-bit colours cannot be decoded")
        return np.ascontiguousarray(pixels[..., 2::-1]), "colour"
    if image.mode in ("1", "L", "LA", "La"):
        scaled = image.mode == "1" or ";" in stored  # 1, 2 and 4 bits are spread over 8
        return np.asarray(image.convert("L")), "fewer than 8 bits" if scaled else ""
    return np.asarray(image.convert("RGB")), "palette" if image.mode == "P" else "colour"


def _orientation(image: Image.Image) -> int | None:
    """As EXIF tells; None where it tells nothing, or nothing that can be read."""
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # it is anybody's bytes, and the picture is good without
        return None
