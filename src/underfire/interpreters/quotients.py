"""Quotients and powers of values that depend on the image, for rules of relevance.

What values are divided by counts as a constant, as in norms (Achtibat et al. 2024, proposition 3.4): all relevance goes
to what is divided. A power is a function of one value, and so is a reciprocal: all relevance goes to that value, as it
does in a product of equal factors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from underfire.interpreters.products import is_followed

_BOTH = (torch, Tensor)
_DIVIDED_IN_PLACE = (Tensor.div_, Tensor.divide_, Tensor.true_divide_, Tensor.__itruediv__)
_RAISED_IN_PLACE = (
    *(Tensor.pow_, Tensor.__ipow__, Tensor.square_, torch.square_, Tensor.sqrt_, torch.sqrt_),
    *(Tensor.reciprocal_, torch.reciprocal_, Tensor.rsqrt_, torch.rsqrt_),
)
QUOTIENTS = (
    *(getattr(owner, name) for owner in _BOTH for name in ("div", "divide", "true_divide")),
    *(Tensor.__truediv__, *_DIVIDED_IN_PLACE),
)
_RECIPROCALS = (
    *(torch.reciprocal, Tensor.reciprocal, torch.rsqrt, Tensor.rsqrt, Tensor.__rtruediv__),
    *(Tensor.reciprocal_, torch.reciprocal_, Tensor.rsqrt_, torch.rsqrt_),
)
_RAISED = (
    *(getattr(owner, name) for owner in _BOTH for name in ("pow", "float_power", "square", "sqrt")),
    *(Tensor.__pow__, *_RAISED_IN_PLACE),
)


def receiver(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """Return the argument that receives all relevance of a quotient or a power; None for any other call.

    Divided by a constant, values pass on relevance by ordinary backpropagation, and need no rule. A quotient that is
    rounded, and a power whose exponent depends on the image, have none.
    """
    if func in QUOTIENTS:
        if len(args) < 2 or not is_followed(args[1]) or kwargs.get("rounding_mode") is not None:
            return None
        found: Tensor = args[0] if is_followed(args[0]) else args[1]
        return found
    if func in _RECIPROCALS or func in _RAISED:
        others = (*args[1:], *kwargs.values())
        return args[0] if args and is_followed(args[0]) and not any(map(is_followed, others)) else None
    return None


def is_divisor(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return True if this call returns one over a value that depends on the image: what it multiplies is divided."""
    if receiver(func, args, kwargs) is None:
        return False
    if func in QUOTIENTS:
        return not is_followed(args[0])
    exponent = next((value for value in (*args[1:], *kwargs.values()) if isinstance(value, int | float)), 1)
    return func in _RECIPROCALS or exponent < 0


def handed(
    func: Callable[..., Any],
    source: Tensor,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    scaled: Callable[[Tensor, Tensor, Tensor], Tensor],
) -> Tensor:
    """Compute a quotient or a power by the rule that hands all relevance to its ``receiver``; in place if it works so.

    Args:
        source: the receiver.
        scaled: makes the rule; see ``Propagation.scaled``.
    """
    if func not in _DIVIDED_IN_PLACE + _RAISED_IN_PLACE:
        output = func(*args, **kwargs)
        return scaled(output, source, _share(func, args, output, source))
    changed, before = args[0], args[0].clone()
    args = tuple(before if value is changed else value for value in args)
    output = func(changed.clone(), *args[1:], **kwargs)
    source = before if source is changed else source
    result: Tensor = changed.copy_(scaled(output, source, _share(func, args, output, source)))
    return result


def _share(func: Callable[..., Any], args: tuple[Any, ...], output: Tensor, source: Tensor) -> Tensor:
    """Compute ``output / source``: the factor by which the gradient goes on to ``source``."""
    if func in QUOTIENTS and source is args[0]:
        divisor: Tensor = args[1]
        return divisor.reciprocal()
    zero = source == 0
    return torch.where(zero, 0, output / torch.where(zero, 1, source))
