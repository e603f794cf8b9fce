"""Products of two tensors that depend on the image, for rules of relevance.

If relevance is value x gradient, each factor of a product receives all of it, and it doubles. A rule must know if both
factors depend on the image, or if one is a constant of the network; and if one is a gate, a factor between 0 and 1 that
lets the other pass. So tensors carry marks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

MATRIX_PRODUCTS = (
    *(torch.matmul, torch.linalg.matmul, torch.bmm, torch.mm, torch.mv, torch.inner, torch.outer, torch.tensordot),
    *(Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, Tensor.bmm, Tensor.mm, Tensor.mv, Tensor.inner),
    *(Tensor.outer, torch.einsum, F.bilinear),
)
_BOTH = (torch, Tensor)
SUMS_WITH_PRODUCT = tuple(
    getattr(owner, name) for owner in _BOTH for name in ("addmm", "baddbmm", "addbmm", "addmv", "addr", "addcmul")
)
"""Functions of a summand and two factors, in this order."""
MULTIPLIED_IN_PLACE = (Tensor.__imul__, Tensor.mul_, Tensor.multiply_)
MULTIPLICATIONS = (
    *(torch.mul, torch.multiply, Tensor.mul, Tensor.multiply, Tensor.__mul__, Tensor.__rmul__),
    *MULTIPLIED_IN_PLACE,
)
ADDED_IN_PLACE = (Tensor.__iadd__, Tensor.add_)
SIGMOIDS = (
    *(torch.sigmoid, Tensor.sigmoid, F.sigmoid, torch.special.expit),
    *(torch.sigmoid_, Tensor.sigmoid_, F.hardsigmoid),
    *(torch.erfc, Tensor.erfc, torch.erfc_, Tensor.erfc_, torch.special.erfc),  # 1 - erf: GELU may be written so
)

_SHAPING = (
    "reshape",
    "flatten",
    "unflatten",
    "squeeze",
    "unsqueeze",
    "permute",
    "transpose",
    "chunk",
    "split",
    "clone",
    "movedim",
    "swapaxes",
    "broadcast_to",
    "unbind",
    "clamp",
)
_MOVES = (
    *(getattr(owner, name) for owner in _BOTH for name in _SHAPING),
    *(Tensor.view, Tensor.view_as, Tensor.reshape_as, Tensor.expand, Tensor.expand_as, Tensor.repeat),
    *(Tensor.__getitem__, Tensor.contiguous, Tensor.to, Tensor.float, Tensor.double, Tensor.half, Tensor.bfloat16),
    *(Tensor.type, Tensor.type_as, F.interpolate, F.dropout, F.dropout2d),
)
"""Functions that arrange the values of a tensor in another way, or in another type."""
_BOUNDED = (F.relu6, F.hardtanh, torch.clamp, Tensor.clamp, torch.clip, Tensor.clip)
_JOINS = (torch.cat, torch.concat, torch.stack)
_DIVISIONS = (torch.div, torch.divide, Tensor.div, Tensor.divide, Tensor.__truediv__)
TANHS = (
    *(torch.tanh, Tensor.tanh, torch.tanh_, Tensor.tanh_, F.tanh),
    *(torch.erf, Tensor.erf, torch.erf_, Tensor.erf_, torch.special.erf),
)
"""Functions between -1 and 1: if a number is added, they are gates, as in GELU, or in Mish after a softplus."""
_SHIFTS = (
    *ADDED_IN_PLACE,
    *(torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, torch.sub, Tensor.sub, Tensor.__sub__, Tensor.__rsub__),
    *(torch.rsub, Tensor.neg, Tensor.__neg__, torch.neg),
)

_EXPONENTIALS = (torch.exp, Tensor.exp, torch.exp_, Tensor.exp_)
_LOGS = (torch.log, Tensor.log, torch.log_, Tensor.log_)
_LOGS_OF_MORE = (torch.log1p, Tensor.log1p, torch.log1p_, Tensor.log1p_)
"""Logarithms of one and more: softplus may be written with them."""

_MARK = "_depends_on_image"
_GATE = "_is_gate"
_SHIFTED = "_has_a_number_added"
_BY = "_function_that_made_it"
"""The attributes that mark tensors. Nobody else reads them."""


def mark(output: object, gate: bool = False, shifted: bool = False, func: Callable[..., Any] | None = None) -> None:
    """Mark the tensors of an output as dependent on the image, as gates or not, as shifted by a number or not, and with
    the function that made them.
    """
    for value in output if isinstance(output, tuple | list) else (output,):
        if isinstance(value, Tensor):
            setattr(value, _MARK, True)
            setattr(value, _GATE, gate)
            setattr(value, _SHIFTED, shifted)
            setattr(value, _BY, func)


def is_followed(value: object) -> bool:
    """Return True if ``value`` is a tensor that is marked as dependent on the image."""
    return isinstance(value, Tensor) and getattr(value, _MARK, False)


def is_gate(value: Tensor) -> bool:
    """Return True if ``value`` is marked as a gate."""
    return getattr(value, _GATE, False)


def followed_among(values: Iterable[object]) -> list[Tensor]:
    """Return the marked tensors among ``values``, and in the lists among them."""
    flat = [part for value in values for part in (value if isinstance(value, tuple | list) else (value,))]
    return [part for part in flat if isinstance(part, Tensor) and is_followed(part)]


def stays_gate(func: Callable[..., Any], followed: list[Tensor]) -> bool:
    """Return True if ``func`` returns a gate because it was given one.

    Gates that are arranged otherwise, joined, multiplied with each other, divided, or scaled or shifted by a constant
    are gates.
    """
    if not followed or not is_gate(followed[0]):
        return False
    if func in _MOVES or len(followed) == 1:  # what values are arranged like is no matter
        return func in _MOVES + _JOINS + MULTIPLICATIONS + _DIVISIONS + _SHIFTS
    return func in _DIVISIONS or (func in _JOINS + MULTIPLICATIONS and all(is_gate(value) for value in followed))


def is_written_gate(func: Callable[..., Any], args: tuple[Any, ...], followed: list[Tensor]) -> bool:
    """Return True for 1 + tanh(x), 1 + erf(x) and tanh(softplus(x)): GELU and Mish are often written so."""
    made_by = getattr(followed[0], _BY, None) if len(followed) == 1 else None
    return (made_by in TANHS and is_shift(func, args)) or (made_by is F.softplus and func in TANHS)


def is_shift(func: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    """Return True if this call adds a number to a tensor, or a constant tensor that holds one number."""
    return func in _SHIFTS and any(
        isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1 and not is_followed(value))
        for value in args
    )


def source_of(func: Callable[..., Any], followed: list[Tensor]) -> Callable[..., Any]:
    """Return the function that made what this call returns.

    A tanh or erf that is scaled by a constant is still one. An exponential to which a number is added counts as one,
    and its logarithm is a softplus.
    """
    made_by: Callable[..., Any] = (getattr(followed[0], _BY, None) if len(followed) == 1 else None) or func
    if made_by in _EXPONENTIALS and func in _LOGS_OF_MORE + _LOGS:
        softplus: Callable[..., Any] = F.softplus
        return softplus if func in _LOGS_OF_MORE or getattr(followed[0], _SHIFTED, False) else func
    keeps = (made_by in TANHS and func in MULTIPLICATIONS + _DIVISIONS) or (
        made_by in _EXPONENTIALS and func in _SHIFTS
    )
    return made_by if keeps else func


def positional(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call with its two operands by position, if it is a sum, product or quotient."""
    if not kwargs.keys() & {"input", "other"} or func not in MULTIPLICATIONS + _DIVISIONS + _SHIFTS:
        return args, kwargs
    operands = [kwargs[name] for name in ("input", "other") if name in kwargs]
    return (*args, *operands), {name: value for name, value in kwargs.items() if name not in ("input", "other")}


def is_hard_sigmoid(func: Callable[..., Any], followed: list[Tensor]) -> bool:
    """Return True if this call bounds what a number was added to: many networks write hard sigmoids so."""
    return func in _BOUNDED and len(followed) == 1 and getattr(followed[0], _SHIFTED, False)


def written(
    func: Callable[..., Any], form: Callable[[Tensor, Tensor], Tensor], first: Tensor, second: Tensor
) -> Tensor:
    """Compute another form of ``func``; in place if that works so, because others may look there."""
    if func not in MULTIPLIED_IN_PLACE + ADDED_IN_PLACE:
        return form(first, second)
    before = first.clone()
    return first.copy_(form(before, before if second is first else second))


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Compute ``F.glu`` by its definition."""
    values, gate = input.chunk(2, dim)
    return values * gate.sigmoid()
