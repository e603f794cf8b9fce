"""The outline of an object's true mask: as lines for the page, and drawn into a picture."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from underfire.reports.pictures import Pixels

Mask = npt.NDArray[np.bool_]


def outline_path(mask: Mask) -> str:
    """The edges between inside and outside as an SVG path, in pixels of the mask H x W.

    Each straight run of edges is one line (``M2 3h4``). There is none where the object touches the picture's border.
    """
    rows = [f"M{x} {y}h{n}" for y, x, n in _runs(mask[:-1] != mask[1:])]
    columns = [f"M{x} {y}v{n}" for x, y, n in _runs((mask[:, :-1] != mask[:, 1:]).T)]
    return "".join(rows + columns)


def _runs(edges: Mask) -> list[tuple[int, int, int]]:
    """(line, start, length) of each run of edges; line ``i`` lies between the mask's ``i`` - 1 and ``i``."""
    padded = np.zeros((edges.shape[0], edges.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = edges
    turns = np.diff(padded, axis=1)
    begins, ends = np.argwhere(turns == 1), np.argwhere(turns == -1)
    return [(int(line) + 1, int(b), int(e - b)) for (line, b), (_, e) in zip(begins, ends, strict=True)]


def draw_outline(picture: Pixels, mask: Mask) -> Pixels:
    """A copy of ``picture`` H x W x 3 with the mask's outline: white just inside, black just outside.

    Two tones, so that it shows on any ground. The mask is enlarged to the picture by nearest pixel.
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
    """Pixels with a neighbour (up, down, left, right) in ``mask``."""
    padded = np.pad(mask, 1)
    found: Mask = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return found
