"""Norms as a product: what is divided, and the factor that it is multiplied by.

A norm is y = x g(x) + b, where g comes from the size of all values together. Relevance is handed to x, and g counts as
a constant (Achtibat et al. 2024, proposition 3.4). The paper writes this for layer norm and RMS norm; it holds in the
same way for the others here. Sizes are computed in full precision, as torch does: squares leave the range of float16.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.numerics import full_precision

Parts = tuple[Tensor, Tensor]
"""The values that the norm divides, and one over what it divides them by, times the weights. Their product, plus the
bias, is the output."""


def layer_norm(
    input: Tensor, shape: Any, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Parts:
    """The parts of ``F.layer_norm`` over the last axes, of shape ``shape``."""
    axes, input = tuple(range(-len(shape), 0)), full_precision(input)
    source = input - input.mean(axes, keepdim=True)
    scale = (source.square().mean(axes, keepdim=True) + eps).rsqrt()
    return source, scale if weight is None else scale * weight


def rms_norm(input: Tensor, shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Parts:
    """The parts of ``F.rms_norm`` over the last axes, of shape ``shape``.

    Where ``eps`` is None, it is that of float32 in half precision, too, as in torch 2.13 (torch 2.6 takes the input's).
    """
    input = full_precision(input)
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    scale = (input.square().mean(tuple(range(-len(shape), 0)), keepdim=True) + eps).rsqrt()
    return input, scale if weight is None else scale * weight


def group_norm(
    input: Tensor, groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Parts:
    """The parts of ``F.group_norm``: channels, the second axis, are divided into ``groups``."""
    grouped = full_precision(input).reshape(len(input), groups, -1)
    centred = grouped - grouped.mean(2, keepdim=True)
    scale = (centred.square().mean(2, keepdim=True) + eps).rsqrt().expand_as(centred).reshape(input.shape)
    return centred.reshape(input.shape), scale if weight is None else scale * weight.view(-1, *[1] * (input.ndim - 2))


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Parts:
    """The parts of ``F.instance_norm``, which divides by the recorded spread if it does not take that of the input."""
    if use_input_stats or running_mean is None or running_var is None:
        return group_norm(input, input.shape[1], weight, bias, eps)
    shape = (-1, *[1] * (input.ndim - 2))
    scale = (full_precision(running_var) + eps).rsqrt() * (1.0 if weight is None else weight)
    return full_precision(input) - running_mean.view(shape), scale.view(shape)


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None) -> Parts:
    """The parts of ``F.normalize``, which divides by a norm over the axis ``dim``."""
    input = full_precision(input)
    return input, input.norm(p, dim, keepdim=True).clamp_min(eps).reciprocal()


PARTS: dict[Callable[..., Any], Callable[..., Parts]] = {
    F.layer_norm: layer_norm,
    F.group_norm: group_norm,
    F.instance_norm: instance_norm,
    F.normalize: normalize,
    F.rms_norm: rms_norm,
}
"""How each of torch's norms is taken apart."""
