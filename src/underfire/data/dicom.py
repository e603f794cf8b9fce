"""Decoding of DICOM files, as scanners of hospitals write them, with pydicom."""

from __future__ import annotations

import importlib
import io
from typing import Any

import numpy as np
from PIL import Image

from underfire.data.pixels import HOW_TO_WINDOW
from underfire.errors import UnreadableImageError

SUFFIXES = (".dcm", ".dicom")


def is_dicom(content: bytes) -> bool:
    """Return True if a file's content is that of a DICOM file."""
    return content[128:132] == b"DICM"


def decode_dicom(content: bytes, where: str) -> Image.Image:
    """Decode a DICOM file as a viewer shows it: the first frame in 8 bits, with the file's window.

    The values are rescaled by the file's slope and intercept. If the file names a window (centre and width; the first
    of several), it becomes black to white; without one, 0 to the largest value of the stored bits does. MONOCHROME1
    images, in which small values are white, are inverted.

    Args:
        content: the file.
        where: the name of the image, for messages.

    Raises:
        UnreadableImageError: pydicom is not installed or cannot decode the file, or there are negative values and no
            window.
    """
    try:
        pydicom: Any = importlib.import_module("pydicom")
    except ImportError as error:
        raise UnreadableImageError(
            f"{where} is a DICOM file, which needs pydicom: pip install 'underfire[formats]'."
        ) from error
    try:
        file: Any = pydicom.dcmread(io.BytesIO(content))
        values = np.asarray(file.pixel_array)
    except Exception as error:  # decoders raise nearly anything on broken content
        raise UnreadableImageError(f"{where} cannot be decoded: {error}") from error
    if int(getattr(file, "NumberOfFrames", 1) or 1) > 1:
        values = values[0]
    if values.ndim == 3:
        return _colours(values, str(file.PhotometricInterpretation), where)
    levels = _windowed(file, values.astype(np.float64), where)
    if file.PhotometricInterpretation == "MONOCHROME1":
        levels = 1 - levels
    return Image.fromarray((levels * 255).round().astype(np.uint8))


def _windowed(file: Any, values: np.ndarray[Any, Any], where: str) -> np.ndarray[Any, Any]:
    """Return values in [0, 1] by the window of the file (DICOM PS3.3 C.11.2.1.2), or else by its bits."""
    values = values * float(getattr(file, "RescaleSlope", 1)) + float(getattr(file, "RescaleIntercept", 0))
    centre, width = (_first(getattr(file, name, None)) for name in ("WindowCenter", "WindowWidth"))
    if centre is not None and width is not None and width >= 1:
        span = max(width - 1, 1.0)
        scaled: np.ndarray[Any, Any] = ((values - (centre - 0.5)) / span + 0.5).clip(0, 1)
        return scaled
    white = float(2 ** int(file.BitsStored) - 1)
    if values.min() < 0 or values.max() > white:
        raise UnreadableImageError(
            f"{where} has values from {values.min():g} to {values.max():g} and names no window; expected a window, or "
            f"values in [0, {white:g}]: it looks like a measurement and not like a picture; {HOW_TO_WINDOW}."
        )
    levels: np.ndarray[Any, Any] = values / white
    return levels


def _first(value: Any) -> float | None:
    """Return a number, the first of several, or None if there is none."""
    if value is None or value == "":
        return None
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)


def _colours(values: np.ndarray[Any, Any], kind: str, where: str) -> Image.Image:
    if values.dtype != np.uint8 or values.shape[2] != 3 or kind not in ("RGB", "YBR_FULL", "YBR_FULL_422"):
        raise UnreadableImageError(f"{where} is a colour image of the kind {kind} with {values.dtype}; expected RGB.")
    return Image.fromarray(values, "RGB" if kind == "RGB" else "YCbCr").convert("RGB")
