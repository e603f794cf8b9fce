"""Convolutions with frozen weights whose second derivative is cheap.

The second-order backward pass of PyTorch's convolution computes gradients of the weights even if they are frozen. With
a frozen weight, a convolution is linear in its input, and the derivative of its input gradient is the convolution
itself: one pass instead of three, with the same bits.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Size = int | tuple[int, ...] | list[int]


class _Convolution(torch.autograd.Function):
    """A convolution that is differentiated in its input alone."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, weight: Tensor, bias: Tensor | None, how: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(image, weight)
        ctx.how = how
        stride, padding, dilation, groups = how
        result: Tensor = torch.ops.aten.convolution(
            image, weight, bias, stride, padding, dilation, False, [0, 0], groups
        )
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        image, weight = ctx.saved_tensors
        return _InputGradient.apply(gradient, image.detach(), weight, ctx.how), None, None, None


class _InputGradient(torch.autograd.Function):
    """The input gradient of a convolution. It is linear in ``gradient``; only the shape of ``image`` matters."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, image: Tensor, weight: Tensor, how: tuple[Any, ...]) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.how = how
        stride, padding, dilation, groups = how
        mask = [True, False, False]
        result: Tensor = torch.ops.aten.convolution_backward(
            gradient, image, weight, None, stride, padding, dilation, False, [0, 0], groups, mask
        )[0]
        return result

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,) = ctx.saved_tensors
        return _Convolution.apply(outer, weight, None, ctx.how), None, None, None


def _pair(size: Size) -> list[int]:
    """Turn a size that is one number, or a sequence of one or two, into two numbers."""
    return [size, size] if isinstance(size, int) else list(size) * (2 // len(size))


def _padded(input: Tensor, padding: str, size: Size, dilation: list[int]) -> tuple[Tensor, list[int]]:
    """Turn the paddings ``same`` and ``valid`` into numbers.

    Where ``same`` needs an odd number of zeros, the input is returned with the one more at the right or at the bottom.
    """
    if padding == "valid":
        return input, [0, 0]
    zeros = [each * (length - 1) for each, length in zip(dilation, _pair(size), strict=True)]
    more = [count % 2 for count in zeros]
    if any(more):
        input = torch.nn.functional.pad(input, (0, more[1], 0, more[0]))
    return input, [count // 2 for count in zeros]


def frozen_conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size | str = 0,
    dilation: Size = 1,
    groups: int = 1,
) -> Tensor:
    """Compute ``torch.conv2d``, with a cheaper second derivative if the weights need no gradient.

    All values and derivatives are those of ``torch.conv2d``, bit for bit.
    """
    trains = weight.requires_grad or (bias is not None and bias.requires_grad)
    if trains or input.ndim != 4 or not torch.is_grad_enabled():
        return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)
    if isinstance(padding, str):
        input, padding = _padded(input, padding, weight.shape[2:], _pair(dilation))
    how = (_pair(stride), _pair(padding), _pair(dilation), groups)
    result: Tensor = _Convolution.apply(input, weight, bias, how)
    return result
