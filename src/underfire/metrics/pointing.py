"""Whether a map points at the object, where the object's true mask is known.

Both functions take maps N x h x w in [0, 1] (1 = most important) and masks, bool N x H x W, of the images at full
size. Maps come to the masks' size bilinearly, cell middles staying where they are (``align_corners=False``), as they
are laid over the image when they are shown. Image i's value depends on image i alone.
Both raise `InputError` on maps with NaN or outside [0, 1], on masks that are not boolean, of another number or
smaller than the maps.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as functional
from torch import Tensor

from underfire.errors import InputError
from underfire.metrics._inputs import double, like_inputs, unit_pair

# Interpolated between equal cells, a value is off by a few 1e-16; it is still one of several equal maxima.
_ROUNDING = 1e-9


def mass_inside(maps: Tensor, masks: Tensor) -> Tensor:
    """Share of each map's mass that lies inside the mask, in [0, 1]: N, float32 (float64 where the maps are).

    A map that points nowhere (constant, also all zero) gives the mask's share of the area: what chance gives.
    """
    large, inside = _at_mask_size(maps, masks)
    # Tiny maps are scaled up, so that no products vanish; a zero map counts as a constant one.
    size = large.amax((1, 2), keepdim=True)
    mass = torch.where(size > 0, large / torch.where(size > 0, size, 1.0), 1.0)
    share = (mass * inside).sum((1, 2)) / mass.sum((1, 2))
    return like_inputs(share.clamp(0, 1), maps)


def peak_inside(maps: Tensor, masks: Tensor, tolerance: float = 0.0) -> Tensor:
    """Whether each map's maximum lies inside the mask: bool N. Its mean is the pointing game's score.

    Where several pixels share the maximum, more than half of them must lie inside. So a constant map, which points
    nowhere, counts only where the object covers more than half of the image. Zhang et al. 2018, "Top-Down Neural
    Attention by Excitation Backprop", section 4.2.

    Args:
        tolerance: pixels of the masks by which the maximum may lie outside; 15, on photos of about 500, in that paper.
    """
    if not 0 <= tolerance < math.inf:
        raise InputError(f"tolerance is {tolerance}; expected a number of pixels, 0 or more.")
    large, inside = _at_mask_size(maps, masks)
    inside = _grown(inside, tolerance)
    peaks = large >= large.amax((1, 2), keepdim=True) * (1 - _ROUNDING)
    hits, all_peaks = (peaks & inside).sum((1, 2)), peaks.sum((1, 2))
    return (2 * hits > all_peaks).to(maps.device)


def _grown(masks: Tensor, tolerance: float) -> Tensor:
    """The masks, and all pixels whose middle is at most ``tolerance`` from that of a pixel inside."""
    reach = min(int(tolerance), max(masks.shape[1:]))
    offsets = torch.arange(-reach, reach + 1, dtype=torch.float64, device=masks.device)
    disc = (offsets[:, None].square() + offsets.square() <= tolerance**2).float()
    return functional.conv2d(masks[:, None].float(), disc[None, None], padding=reach)[:, 0] > 0.5


def _at_mask_size(maps: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
    """Checked maps in float64 at the size of the masks, N x H x W, and the masks beside them."""
    checked, _ = unit_pair(maps, maps, "maps", ("maps", "maps"))
    if masks.dtype != torch.bool:
        raise InputError(f"masks are {masks.dtype}; expected torch.bool, True where the object is.")
    if masks.ndim != 3 or 0 in masks.shape[1:] or len(masks) != len(maps):
        raise InputError(
            f"masks have shape {tuple(masks.shape)}; expected N x H x W, with N = {len(maps)} as there are maps."
        )
    height, width = masks.shape[1:]
    if checked.shape[1] > height or checked.shape[2] > width:
        raise InputError(
            f"maps are {checked.shape[1]} x {checked.shape[2]}, larger than the masks, {height} x {width}; expected "
            "masks of the size of the images: give them the size that the images were prepared to."
        )
    large = double(checked)
    if large.shape[1:] != masks.shape[1:]:
        large = functional.interpolate(large[:, None], (height, width), mode="bilinear", align_corners=False)[:, 0]
    return large, masks.to(large.device)
