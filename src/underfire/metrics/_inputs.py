"""Checks that every metric makes of its tensors, and the precision that it computes in."""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.errors import InputError

LAYOUTS = {"maps": ("N", "h", "w"), "images": ("N", "C", "H", "W")}
TOLERANCE = 1e-6
"""How far beyond [0, 1] a value may lie by rounding; it is clamped. Beyond that it is an error."""


def same_shape(first: Tensor, second: Tensor, names: tuple[str, str]) -> None:
    """Refuse two tensors of different shapes, naming both."""
    if first.shape != second.shape:
        raise InputError(
            f"{names[0]} has shape {tuple(first.shape)} and {names[1]} has shape {tuple(second.shape)}; "
            "expected the same shape."
        )


def one_per_image(tensor: Tensor, name: str) -> None:
    """Refuse a tensor that is not one finite value per image, shape N."""
    if tensor.ndim != 1:
        raise InputError(f"{name} has shape {tuple(tensor.shape)}; expected one value per image, shape N.")
    if not torch.isfinite(tensor).all():
        raise InputError(f"{name} holds NaN or infinite values; expected finite ones.")


def unit_pair(a: Tensor, b: Tensor, kind: str, names: tuple[str, str]) -> tuple[Tensor, Tensor]:
    """Two batches of maps or images, checked and clamped to [0, 1], without a graph, in their own dtypes.

    Args:
        a, b: N x h x w where `kind` is "maps", N x C x H x W where it is "images".
        kind: "maps" or "images".
        names: what the caller's arguments are called, for the errors.

    Raises:
        InputError: wrong rank, no cells, different shapes, integers, NaN, or values outside [0, 1].
    """
    checked = _unit(a, kind, names[0]), _unit(b, kind, names[1])
    same_shape(a, b, names)
    return checked


def _unit(tensor: Tensor, kind: str, name: str) -> Tensor:
    layout = LAYOUTS[kind]
    if tensor.ndim != len(layout) or 0 in tensor.shape[1:]:
        raise InputError(
            f"{name} has shape {tuple(tensor.shape)}; expected {kind} {' x '.join(layout)}, "
            "of which only N may be zero."
        )
    if not tensor.is_floating_point():
        raise InputError(
            f"{name} is {tensor.dtype}; expected floating point values in [0, 1]: 8-bit values must be divided by 255."
        )
    tensor = tensor.detach()
    if len(tensor) == 0:
        return tensor
    low, high = (float(bound) for bound in tensor.aminmax())
    # Written so that NaN, which compares false with everything, is refused too.
    if not (low >= -TOLERANCE and high <= 1 + TOLERANCE):
        raise InputError(
            f"{name} ranges over [{low:.4g}, {high:.4g}]; {kind} must be in [0, 1]: values beyond it are not "
            "scaled, or are normalised; NaN comes from a computation that failed before."
        )
    return tensor.clamp(0, 1)


def double(tensor: Tensor) -> Tensor:
    """Float64, in which metrics compute: sums of thousands of float32 cells would depend on their order."""
    # Apple's GPUs have no float64.
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).to(torch.float64)


def like_inputs(values: Tensor, *inputs: Tensor) -> Tensor:
    """A float64 result on the first input's device, as float32, or float64 where any input has it."""
    dtype = torch.float64 if any(x.dtype == torch.float64 for x in inputs) else torch.float32
    return values.to(device=inputs[0].device, dtype=dtype)
