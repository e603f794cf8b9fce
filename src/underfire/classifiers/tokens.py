"""The places of tokens: how the values of a transformer's tokens become maps N x C x h x w.

A transformer holds one vector per square of the image, in a list. Some networks put further tokens before these: the
class token, registers, a token for distillation. They have no place in the image, and maps leave them out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

MOST_EXTRA = 16
"""The largest number of tokens without a place that are looked for."""

Axes = str
"""The order of the axes: images (n), height and width (h, w) or the list of tokens (l), and channels (c)."""

LISTS: dict[Axes, int] = {"nlc": 1, "ncl": 2, "lnc": 0}
"""The axis of the list of tokens."""


@dataclass(frozen=True)
class Arrangement:
    """The order in which a tensor holds values that belong to places of the image.

    Args:
        axes: the order of the tensor's axes.
        grid: rows and columns of places.
        extra: the number of tokens before the first that has a place; 0 for values with 4 axes.
    """

    axes: Axes
    grid: tuple[int, int]
    extra: int = 0

    def maps(self, values: Tensor) -> Tensor:
        """Arrange values as maps N x C x h x w; extra tokens are left out."""
        if len(self.axes) == 4:
            return values.permute([self.axes.index(axis) for axis in "nchw"])
        lists = values.permute(0, 2, 1) if self.axes == "nlc" else values
        lists = values.permute(1, 2, 0) if self.axes == "lnc" else lists
        return lists[:, :, self.extra :].reshape(*lists.shape[:2], *self.grid)

    def row(self, values: Tensor) -> Tensor:
        """Arrange one value per token, N x L, as maps N x h x w; extra tokens are left out."""
        return values[:, self.extra :].reshape(len(values), *self.grid)


def places(length: int, sizes: Sequence[tuple[int, int]], image: tuple[int, int]) -> tuple[tuple[int, int], int] | None:
    """Find the grid of places of ``length`` tokens, and the number of tokens before them.

    Args:
        length: the number of tokens.
        sizes: height and width of what the network's convolutions returned, the last one first. One of them usually
            made the tokens: the one that leaves the fewest tokens over, because attention may make smaller grids later.
        image: height and width of the images. If no convolution made the tokens, their grid has the image's shape.

    Returns:
        Rows and columns, and the number of extra tokens; None if no grid fits.
    """
    fitting = [size for size in sizes if size[0] * size[1] > 1 and 0 <= length - size[0] * size[1] <= MOST_EXTRA]
    if fitting:
        height, width = max(fitting, key=lambda size: size[0] * size[1])
        return (height, width), length - height * width
    for extra in range(min(MOST_EXTRA, length - 1) + 1):
        for height in range(1, length - extra + 1):
            width = (length - extra) // height
            if height * width == length - extra and height * image[1] == width * image[0]:
                return (height, width), extra
    return None


def _is_grid(grid: tuple[int, int], image: tuple[int, int]) -> bool:
    """Return True if one stride makes this grid of the image, where each side may be rounded up or down."""
    (height, width), (tall, wide) = grid, image
    # The strides that make n of N lie between N / (n + 1) and N / (n - 1).
    return tall * (width - 1) < wide * (height + 1) and wide * (height - 1) < tall * (width + 1)


def arrangement_of(
    values: Tensor, axes: Axes | None, sizes: Sequence[tuple[int, int]], images: Tensor
) -> Arrangement | None:
    """Find the arrangement of ``values``; None for maps N x C x h x w, and for what belongs to no places.

    Args:
        values: with 3 or 4 axes; others have no arrangement.
        axes: their order if it is known. If None, three axes are ``nlc``; and four are ``nhwc`` if that gives places in
            the image's proportions, up to rounding, and ``nchw`` does not. ``nlc`` is ``lnc`` if the images can only be
            the second axis.
        sizes: see ``places``.
        images: what the network was run on, N x C x H x W.
    """
    image = (images.shape[2], images.shape[3])
    if values.ndim == 4:
        shape = values.shape
        if axes is None and _is_grid((shape[1], shape[2]), image) and not _is_grid((shape[2], shape[3]), image):
            axes = "nhwc"
        if axes in (None, "nchw"):
            return None
        return Arrangement(axes, (shape[axes.index("h")], shape[axes.index("w")]))
    if values.ndim != 3:
        return None
    axes = axes or "nlc"
    if axes == "nlc" and values.shape[0] != len(images) == values.shape[1]:
        axes = "lnc"
    found = places(values.shape[LISTS[axes]], sizes, image)
    return None if found is None else Arrangement(axes, *found)
