"""Checks of the inputs of metrics, and the precision of their computation."""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.errors import InputError

LAYOUTS = {"maps": ("N", "h", "w"), "images": ("N", "C", "H", "W")}
TOLERANCE = 1e-6
"""The largest excess over [0, 1] that counts as rounding and is clamped. A larger one is an error."""


def same_shape(first: Tensor, second: Tensor, names: tuple[str, str]) -> None:
    """Raise InputError, with both names, if two tensors have different shapes."""
    if first.shape != second.shape:
        raise InputError(
            f"{names[0]} has shape {tuple(first.shape)} and {names[1]} has shape {tuple(second.shape)}; "
            "expected the same shape."
        )


def one_per_image(tensor: Tensor, name: str) -> None:
    """Raise InputError unless the tensor has one finite value per image: shape N."""
    if tensor.ndim != 1:
        raise InputError(f"{name} has shape {tuple(tensor.shape)}; expected one value per image, shape N.")
    if not torch.isfinite(tensor).all():
        raise InputError(f"{name} holds NaN or infinite values; expected finite ones.")


def unit_pair(a: Tensor, b: Tensor, kind: str, names: tuple[str, str]) -> tuple[Tensor, Tensor]:
    """Check two batches of maps or images, detach them, and clamp them to [0, 1]. Their dtypes stay.

    Args:
        a, b: N x h x w for maps, N x C x H x W for images.
        kind: "maps" or "images".
        names: the names of the caller's two arguments, for error messages.

    Raises:
        InputError: wrong rank, no cells, different shapes, integers, NaN, or values outside [0, 1].
    """
    checked = unit(a, kind, names[0]), unit(b, kind, names[1])
    same_shape(a, b, names)
    return checked


def unit(tensor: Tensor, kind: str, name: str) -> Tensor:
    """Check one batch of maps or images as ``unit_pair`` does."""
    layout = LAYOUTS[kind]
    if tensor.ndim != len(layout) or 0 in tensor.shape[1:]:
        raise InputError(
            f"{name} has shape {tuple(tensor.shape)}; expected {kind} {' x '.join(layout)}; only N may be zero."
        )
    if not tensor.is_floating_point():
        raise InputError(
            f"{name} is {tensor.dtype}; expected floating point values in [0, 1]. Divide 8-bit values by 255."
        )
    tensor = tensor.detach()
    if len(tensor) == 0:
        return tensor
    low, high = (float(bound) for bound in tensor.aminmax())
    # Written so that NaN, for which every comparison is false, raises too.
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        raise InputError(
            f"{name} ranges over [{low:.4g}, {high:.4g}]; expected {kind} in [0, 1]. Larger or negative values may be "
            "normalised or not scaled; NaN comes from an earlier computation that failed."
        )
    return tensor.clamp(0, 1)


def double(tensor: Tensor) -> Tensor:
    """Convert to float64, the precision of all metrics. Sums of many float32 cells would depend on their order."""
    # Apple's GPUs have no float64: compute on the CPU instead.
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).to(torch.float64)


def like_inputs(values: Tensor, *inputs: Tensor) -> Tensor:
    """Move a result to the first input's device, as float32, or as float64 if any input is float64."""
    dtype = torch.float64 if any(x.dtype == torch.float64 for x in inputs) else torch.float32
    return values.to(device=inputs[0].device, dtype=dtype)
