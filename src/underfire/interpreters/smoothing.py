"""Rectifiers with a smooth slope, so that the gradient of a gradient is not zero.

The second derivative of a ReLU network in its input is zero almost everywhere, and an attack on a gradient map would
get no signal. ADV2 (Zhang et al. 2020, section 3.2 and eq. 10) keeps the exact ReLU in the forward pass and replaces
its slope. This module does so for every rectifier of any network: modules, functions and methods, in place or not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from underfire.arguments import check_choice
from underfire.errors import InputError
from underfire.interpreters.blocks import by_block
from underfire.interpreters.convolution import frozen_conv2d


@dataclass(frozen=True)
class Smoothing:
    """The smooth slope h'(v) of a rectifier around v = 0.

    Args:
        kind: ``published``: h'(v) = v / sqrt(v^2 + width) for v >= 0, and 1 + v / sqrt(v^2 + width) for v < 0, as in
            ADV2's experiments (with growing v it jumps from 1 to 0 at v = 0). ``sigmoid``: h'(v) = sigmoid(v / width).
            ``softplus``: the slope of ``sigmoid``, and the forward pass is width * log(1 + exp(v / width)), so that
            the whole view is a smooth function.
        width: the scale of the smoothing, above 0.
    """

    kind: Literal["published", "sigmoid", "softplus"] = "published"
    width: float = 1e-4

    def __post_init__(self) -> None:
        check_choice("kind", self.kind, ("published", "sigmoid", "softplus"))
        if not self.width > 0:
            raise InputError(f"width is {self.width}; expected a positive number.")

    def value(self, v: Tensor) -> Tensor:
        """Compute h(v): the exact ReLU unless the kind is ``softplus``."""
        return F.softplus(v, beta=1 / self.width) if self.kind == "softplus" else v.clamp_min(0)

    def slope(self, v: Tensor) -> Tensor:
        """Compute h'(v)."""
        if self.kind == "published":
            below = torch.lt(v.detach(), 0, out=torch.empty_like(v))
            return (v * v).add_(self.width).rsqrt_().mul_(v).add_(below)
        return torch.sigmoid(v / self.width)

    def curvature(self, v: Tensor) -> Tensor:
        """Compute h''(v). At v = 0 the slope of ``published`` jumps from 1 to 0; h'' ignores this jump."""
        if self.kind == "published":
            inverse = (v * v).add_(self.width).rsqrt_()
            return (inverse * inverse).mul_(inverse).mul_(self.width)
        slope = torch.sigmoid(v / self.width)
        return (slope * (1 - slope)).div_(self.width)


@dataclass(frozen=True)
class _Clip:
    """h(v - low) - h(v - high) + low: a ReLU with a lower and an upper bound, and its two derivatives."""

    smoothing: Smoothing
    low: float
    high: float

    def value(self, v: Tensor) -> Tensor:
        if self.smoothing.kind != "softplus":
            return v.clamp(self.low, self.high)
        return self._at_both_ends(self.smoothing.value, v) + self.low

    def slope(self, v: Tensor) -> Tensor:
        return self._at_both_ends(self.smoothing.slope, v)

    def curvature(self, v: Tensor) -> Tensor:
        return self._at_both_ends(self.smoothing.curvature, v)

    def _at_both_ends(self, function: Callable[[Tensor], Tensor], v: Tensor) -> Tensor:
        made = function(v - self.low if self.low else v)
        return made if self.high == math.inf else made - function(v - self.high)


class _Rectifier(torch.autograd.Function):
    """h(v), with the slope h'(v)."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, clip: _Clip) -> Tensor:
        ctx.save_for_backward(v)
        ctx.clip, ctx.slope = clip, None
        return clip.value(v)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (v,) = ctx.saved_tensors
        if ctx.slope is None:  # computed in the pass for the map, and used again in the pass for the objective
            ctx.slope = by_block(ctx.clip.slope, v.detach())
        return _Slope.apply(grad, v, ctx.slope, ctx.clip), None


class _Slope(torch.autograd.Function):
    """grad * h'(v). Its derivatives are written out, since autograd would keep five activations instead of three."""

    @staticmethod
    def forward(ctx: Any, grad: Tensor, v: Tensor, slope: Tensor, clip: _Clip) -> Tensor:
        ctx.save_for_backward(grad, v, slope)
        ctx.clip = clip
        return slope * grad

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        grad, v, slope = ctx.saved_tensors
        to_grad = slope * outer if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:
            return to_grad, None, None, None

        def product(v: Tensor, outer: Tensor, grad: Tensor) -> Tensor:
            made: Tensor = ctx.clip.curvature(v).mul_(outer).mul_(grad)
            return made

        return to_grad, by_block(product, v, outer, grad), None, None


def rectify(v: Tensor, smoothing: Smoothing, low: float = 0.0, high: float = math.inf) -> Tensor:
    """Compute the ReLU, or a value between two bounds, with the smoothed slope; twice differentiable."""
    result: Tensor = _Rectifier.apply(v, _Clip(smoothing, low, high))
    return result


# Each rectifier in terms of rectify(), with the parameters of the function that it replaces.


def _relu(input: Tensor, smoothing: Smoothing) -> Tensor:
    return rectify(input, smoothing)


def _valued(made: Tensor, value: Tensor) -> Tensor:
    """Return ``value`` with the derivatives of ``made``, whose own value is less exact in half precision."""
    return made + (value - made.detach())


def _clip(input: Tensor, smoothing: Smoothing, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    return rectify(input, smoothing, min_val, max_val)


def _relu6(input: Tensor, smoothing: Smoothing) -> Tensor:
    return _clip(input, smoothing, 0.0, 6.0)


def hardsigmoid(input: Tensor, smoothing: Smoothing) -> Tensor:
    return (_clip(input, smoothing, -3.0, 3.0) + 3) / 6


def hardswish(input: Tensor, smoothing: Smoothing) -> Tensor:
    return input * hardsigmoid(input, smoothing)


def _leaky(input: Tensor, smoothing: Smoothing, negative_slope: float = 0.01) -> Tensor:
    return negative_slope * input + (1 - negative_slope) * rectify(input, smoothing)


def _prelu(input: Tensor, smoothing: Smoothing, weight: Tensor) -> Tensor:
    factor = weight.view((1, -1) + (1,) * (input.ndim - 2) if weight.numel() > 1 else (1,))
    return factor * input + (1 - factor) * rectify(input, smoothing)


Entry = tuple[Callable[..., Tensor], tuple[str, ...], bool]
"""The other form of a function, the names of its positional parameters, and True if it always works in place."""

_RECTIFIERS: dict[Callable[..., Any], Entry] = {
    F.relu: (_relu, ("input", "inplace"), False),
    F.relu6: (_relu6, ("input", "inplace"), False),
    F.hardtanh: (_clip, ("input", "min_val", "max_val", "inplace"), False),
    F.hardsigmoid: (hardsigmoid, ("input", "inplace"), False),
    F.hardswish: (hardswish, ("input", "inplace"), False),
    F.leaky_relu: (_leaky, ("input", "negative_slope", "inplace"), False),
    F.prelu: (_prelu, ("input", "weight"), False),
    torch.relu: (_relu, ("input",), False),
    torch.prelu: (_prelu, ("input", "weight"), False),
    torch.Tensor.relu: (_relu, ("input",), False),
    torch.Tensor.prelu: (_prelu, ("input", "weight"), False),
    F.relu_: (_relu, ("input",), True),
    F.leaky_relu_: (_leaky, ("input", "negative_slope"), True),
    F.hardtanh_: (_clip, ("input", "min_val", "max_val"), True),
    torch.relu_: (_relu, ("input",), True),
    torch.Tensor.relu_: (_relu, ("input",), True),
}


Arguments = tuple[Any, ...]


def replaced(entry: Entry, args: Arguments, kwargs: dict[str, Any], **more: Any) -> Tensor:
    """Compute another form of a function from its arguments; in place if it works so, because others may look there."""
    form, names, in_place = entry
    given = dict(zip(names, args, strict=False)) | kwargs
    in_place = bool(given.pop("inplace", False)) or in_place
    if not in_place:
        return form(**given, **more)
    changed: Tensor = given["input"]
    return changed.copy_(form(**(given | {"input": changed.clone()}), **more))


def _exacthardsigmoid(input: Tensor) -> Tensor:
    return _valued((input + 3).clamp(0, 6) / 6, F.hardsigmoid(input.detach()))


class TwiceDifferentiable(TorchFunctionMode):
    """A context in which networks have a second derivative, and a cheap one; values stay as they are.

    Convolutions with frozen weights have the cheap one of ``frozen_conv2d``. The hard sigmoid, whose slope has no
    derivative in torch, is written with a clamp.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Arguments = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is torch.conv2d:
            return frozen_conv2d(*args, **kwargs)
        if func is F.hardsigmoid:
            return replaced((_exacthardsigmoid, ("input", "inplace"), False), args, kwargs)
        return func(*args, **kwargs)


class SmoothRectifiers(TwiceDifferentiable):
    """A context in which piecewise linear activations have a smooth slope, and networks a cheap second derivative.

    These are ReLU, ReLU6, Hardtanh, LeakyReLU, PReLU, the hard sigmoid and the hard swish.

    Args:
        smoothing: the slope; if None, the activations stay as they are.
    """

    def __init__(self, smoothing: Smoothing | None) -> None:
        super().__init__()
        self.smoothing = smoothing

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Arguments = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.smoothing is None or func not in _RECTIFIERS:
            return super().__torch_function__(func, types, args, kwargs)
        return replaced(_RECTIFIERS[func], args, kwargs, smoothing=self.smoothing)
