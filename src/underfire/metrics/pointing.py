"""Agreement of a map with the object's true mask.

Both functions take maps, N x h x w in [0, 1] (1 = most important), and masks, bool N x H x W, of the size of the
images. Maps are enlarged bilinearly to the size of the masks (``align_corners=False``), as for display over the image.
The value of image i depends on image i alone. Both functions raise `InputError` for maps with NaN or outside [0, 1],
and for masks that are not boolean, smaller than the maps, or of another number.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional
from torch import Tensor

from underfire.errors import InputError
from underfire.metrics._inputs import double, like_inputs, unit

# Interpolation between equal cells has errors of a few 1e-16; values this close to the maximum count as the maximum.
_ROUNDING = 1e-9


def mass_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of each map's mass inside the mask, in [0, 1]: N, float32 (float64 for float64 maps).

    A constant map, also the zero map, gives the mask's share of the area, the value of chance.
    """
    large, inside = _at_mask_size(maps, masks)
    # Maps are scaled to maximum 1, so that no product becomes 0; a zero map counts as a constant map.
    size = large.amax((1, 2), keepdim=True)
    mass = torch.where(size > 0, large / torch.where(size > 0, size, 1.0), 1.0)
    share = (mass * inside).sum((1, 2)) / mass.sum((1, 2))
    return like_inputs(share.clamp(0, 1), maps)


def peak_inside(maps: Tensor, masks: Tensor, tolerance: float = 0.0) -> Tensor:
    """True for each map with its maximum inside the mask: bool N. The mean is the score of the pointing game.

    If several pixels share the maximum, more than half of them must lie inside. So a constant map counts only if the
    object covers more than half of the image. Zhang et al. 2018, "Top-Down Neural Attention by Excitation Backprop",
    section 4.2.

    Args:
        maps: N x h x w in [0, 1].
        masks: bool N x H x W.
        tolerance: the distance, in pixels of the masks, by which the maximum may lie outside. The paper uses 15, on
            photos of about 500 x 500 pixels.
    """
    if not 0 <= tolerance < math.inf:
        raise InputError(f"tolerance is {tolerance}; expected a finite number of pixels, 0 or more.")
    large, inside = _at_mask_size(maps, masks)
    inside = _grown(inside, tolerance)
    peaks = large >= large.amax((1, 2), keepdim=True) * (1 - _ROUNDING)
    hits, all_peaks = (peaks & inside).sum((1, 2)), peaks.sum((1, 2))
    return (2 * hits > all_peaks).to(maps.device)


def _grown(masks: Tensor, tolerance: float) -> Tensor:
    """Enlarge the masks by all pixels at a distance of at most ``tolerance`` from a pixel inside."""
    reach = min(int(tolerance), max(masks.shape[1:]))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64, device=masks.device)
    disc = (offsets[:, None].square() + offsets.square() <= tolerance**2).float()
    return functional.conv2d(masks[:, None].float(), disc[None, None], padding=reach)[:, 0] > 0.5


def check_masks(masks: Tensor, count: int) -> None:
    """Raise InputError unless ``masks`` are bool N x H x W, with N = ``count``, the number of maps."""
    if not isinstance(masks, Tensor):
        raise InputError(
            f"masks is an object of type {type(masks).__name__}; expected a bool tensor N x H x W, True where the "
            "object is."
        )
    if masks.dtype != torch.bool:
        raise InputError(f"masks are {masks.dtype}; expected torch.bool, True where the object is.")
    if masks.ndim != 3 or 0 in masks.shape[1:] or len(masks) != count:
        raise InputError(
            f"masks have shape {tuple(masks.shape)}; expected N x H x W with N = {count}, the number of maps."
        )


def _at_mask_size(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Check maps and masks. Return the maps in float64 at the size of the masks, N x H x W, and the masks."""
    large = double(unit(maps, "maps", "maps"))
    check_masks(masks, len(maps))
    height, width = masks.shape[1:]
    if large.shape[1] > height or large.shape[2] > width:
        raise InputError(
            f"maps are {large.shape[1]} x {large.shape[2]}, larger than the masks, {height} x {width}; expected "
            "masks of the same size as the prepared images."
        )
    if large.shape[1:] != masks.shape[1:]:
        large = functional.interpolate(large[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]
    return large, masks.to(large.device)
