"""Outlines of masks: as an SVG path for the page, and drawn into a picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from underfire.drawing.pictures import Pixels

Mask = npt.NDArray[np.bool_]


def outline_path(mask: Mask) -> str:
    """Return the outline of a mask H x W as an SVG path in the mask's pixels.

    Each straight piece is one command, such as ``M2 3h4``. Along the picture's border no line is drawn.
    """
    rows = [f"M{x} {y}h{n}" for y, x, n in _runs(mask[:-1] != mask[1:])]
    columns = [f"M{x} {y}v{n}" for x, y, n in _runs((mask[:, :-1] != mask[:, 1:]).T)]
    return "".join(rows + columns)


def _runs(edges: Mask) -> list[tuple[int, int, int]]:
    """Find runs of True in each row. Returns (row + 1, start, length), the coordinates of a line below that row."""
    padded = np.zeros((edges.shape[0], edges.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = edges
    turns = np.diff(padded, axis=1)
    begins, ends = np.argwhere(turns == 1), np.argwhere(turns == -1)
    return [(int(line) + 1, int(b), int(e - b)) for (line, b), (_, e) in zip(begins, ends, strict=True)]


def draw_outline(picture: Pixels, mask: Mask) -> Pixels:
    """Draw the outline of a mask into a copy of a picture: white just inside, black just outside.

    With two tones it can be seen on any background.

    Args:
        picture: uint8 H x W x 3.
        mask: bool, of any size; it is resized to the picture by nearest pixel.
    """
    height, width = picture.shape[:2]
    ys = ((np.arange(height) + 0.5) * mask.shape[0] / height).astype(int)
    xs = ((np.arange(width) + 0.5) * mask.shape[1] / width).astype(int)
    large = mask[ys][:, xs]
    drawn = picture.copy()
    drawn[_beside(large) & ~large] = 0
    drawn[_beside(~large) & large] = 255
    return drawn


def _beside(mask: Mask) -> Mask:
    """Mark the pixels that have a neighbour (up, down, left, right) in ``mask``."""
    padded = np.pad(mask, 1)
    found: Mask = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return found
