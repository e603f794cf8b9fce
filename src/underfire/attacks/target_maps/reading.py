"""Read and check target maps that the user gives as a file or as values."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from underfire.data.decode import decode_image, read_bytes
from underfire.data.npy_header import check_header
from underfire.data.prepare import prepare
from underfire.errors import InputError, UnreadableImageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOLERANCE = 1e-6
"""The distance from [0, 1] that is accepted as a rounding error."""


def read_file(file: str | Path) -> Tensor:
    """Read a map from an image file, whose brightness counts, or from a .npy file with an array h x w.

    Transparent pixels count as black, which is unimportant.

    Returns:
        float32 1 x h x w in [0, 1].

    Raises:
        InputError: the file holds no map.
    """
    path, called = Path(file).expanduser(), f"target_map {str(file)!r}"
    try:
        content = read_bytes(path)
        if path.suffix.lower() != ".npy":
            pixels = prepare(decode_image(content, str(path)), None, 1, behind="black")
            return checked(pixels.float() / 255, called)
    except UnreadableImageError as error:
        raise InputError(f"{called} cannot be read as an image or a .npy array: {error}") from error
    return checked(_array(content, called), called)


def _array(content: bytes, called: str) -> Tensor:
    if not content.startswith(b"\x93NUMPY"):
        what = "holds something else, such as text" if content else "is empty"
        raise InputError(f"{called} {what}; expected a .npy array h x w, as numpy.save writes it.")
    try:
        file = io.BytesIO(content)
        check_header(file, len(content))
        values = np.load(file)
    except MemoryError:
        raise
    except Exception as error:  # on broken content, numpy raises nearly anything
        raise InputError(
            f"{called} cannot be read as a .npy array: it is cut off or broken, or holds objects ({error})."
        ) from error
    maps = as_tensor(values, called)
    if maps.ndim != 2:
        raise InputError(f"{called} has shape {_by(maps)}; expected h x w{_hint(maps)}.")
    return maps.unsqueeze(0)


def as_tensor(values: Tensor | NDArray[Any], called: str) -> Tensor:
    """Convert ``values`` to float32 on the CPU. Raises InputError if they are not real numbers."""
    if isinstance(values, np.ndarray):
        if values.dtype.kind not in "fiub":
            raise InputError(f"{called} holds values of type {values.dtype}; expected numbers in [0, 1].")
        values = torch.from_numpy(values.astype(np.float32))
    if values.is_complex():
        raise InputError(f"{called} holds values of type {values.dtype}; expected numbers in [0, 1].")
    return values.detach().to("cpu", torch.float32, copy=True)


def checked(maps: Tensor, called: str) -> Tensor:
    """Check maps N x h x w. Raises InputError if a value lies outside of [0, 1], or a map is constant."""
    if not maps.numel():
        raise InputError(f"{called} has shape {_by(maps)}; expected at least one value.")
    if not bool(torch.isfinite(maps).all()):
        raise InputError(f"{called} holds NaN or infinite values; maps are in [0, 1], where 1 is most important.")
    low, high = float(maps.min()), float(maps.max())
    if low < -TOLERANCE or high > 1 + TOLERANCE:
        why = ""
        if low >= 0:
            why = ": these look like 8-bit values, divide them by 255" if high <= 255 else ": divide it by its maximum"
        raise InputError(
            f"{called} ranges over [{low:.3g}, {high:.3g}]; maps are in [0, 1], where 1 is most important{why}."
        )
    flat = (maps.amax((1, 2)) - maps.amin((1, 2)) <= TOLERANCE).nonzero().flatten().tolist()
    if flat:
        which = f" of image {flat[0]}" if len(maps) > 1 else ""
        raise InputError(
            f"{called} is the same everywhere ({float(maps[flat[0], 0, 0]):.3g}){which}; expected a map with brighter "
            "and darker places: no interpreter that stretches its maps to [0, 1] can ever show a constant one."
        )
    return maps.clamp(0, 1)


def from_values(values: Any) -> Tensor:
    """Convert a tensor or array h x w (one map for all images) or N x h x w (one per image) to maps.

    Returns:
        float32 1 x h x w or N x h x w in [0, 1].

    Raises:
        InputError: it is something else, or holds no maps.
    """
    if not isinstance(values, Tensor | np.ndarray):
        raise InputError(
            f"target_map is an object of type {type(values).__name__}; expected a rule, 'benign', 'patch', 'class', a "
            "file name, or a tensor or array h x w or N x h x w in [0, 1]."
        )
    maps = as_tensor(values, "target_map")
    if maps.ndim not in (2, 3):
        raise InputError(
            f"target_map has shape {_by(maps)}; expected h x w (one map for all images) or N x h x w (one for each)."
        )
    return checked(maps.unsqueeze(0) if maps.ndim == 2 else maps, "target_map")


def _by(maps: Tensor) -> str:
    """Write the shape of ``maps`` for a message."""
    return " x ".join(map(str, maps.shape)) or "() (a single number)"


def _hint(maps: Tensor) -> str:
    """Say what to do about a picture with colours, if the shape looks like one."""
    if maps.ndim == 3 and maps.shape[0] in (1, 3, 4):
        return ": it looks like channels x h x w, take the mean over the channels, values.mean(0)"
    if maps.ndim == 3 and maps.shape[2] in (1, 3, 4):
        return ": it looks like h x w x channels, take the mean over the channels, values.mean(2)"
    return ""
