"""Checks of the maps that interpreters and their views return: users write both, and mistakes are easy to make."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from underfire.errors import InterpreterError
from underfire.user_parts import shape_of

TOLERANCE = 1e-3
"""Rounding that is accepted beyond [0, 1]."""


def check_shape(maps: Any, count: int, called: str) -> Tensor:
    """Return honest maps that have the right shape.

    Args:
        maps: what an interpreter returned; expected a tensor N x h x w.
        count: the number of images N.
        called: the interpreter, for messages.

    Raises:
        InterpreterError: it is something else.
    """
    if not isinstance(maps, Tensor) or maps.ndim != 3 or len(maps) != count or not maps.numel():
        raise InterpreterError(
            f"interpreter {called} returns {shape_of(maps)} for a batch of {count} images; expected a tensor "
            f"N x h x w, one map per image: ({count}, h, w).{_hint(maps, count)}"
        )
    return maps


def check_shape_of_view(maps: Any, count: int, called: str) -> Tensor:
    """Return the maps of a view that have the right shape, as N x r x h x w.

    Args:
        maps: what a view returned; expected a tensor N x h x w, or N x r x h x w with r maps per image.
        count: the number of images N.
        called: the interpreter, for messages.

    Raises:
        InterpreterError: it is something else.
    """
    if not isinstance(maps, Tensor) or maps.ndim not in (3, 4) or len(maps) != count:
        raise InterpreterError(
            f"the view of interpreter {called} returns {shape_of(maps)} for a batch of {count} images; expected a "
            f"tensor N x h x w, one map per image, or N x r x h x w: ({count}, h, w)."
        )
    return maps.unsqueeze(1) if maps.ndim == 3 else maps


def maps_and_state(read: Any, count: int, called: str) -> tuple[Tensor, Any]:
    """Return what a view has read: its maps, as N x r x h x w, and its state.

    Raises:
        InterpreterError: it is something else than two things, or the maps have another shape.
    """
    if not isinstance(read, tuple) or len(read) != 2:
        raise InterpreterError(
            f"the view of interpreter {called} returns {shape_of(read)}; expected two things, the maps and the state: "
            "return maps, state."
        )
    maps, state = read
    return check_shape_of_view(maps, count, called), state


def check_same_size(looks: Tensor, honest: Tensor, called: str) -> None:
    """Raise InterpreterError if a view's maps N x r x h x w have another size than the honest ones N x h x w."""
    if looks.shape[2:] != honest.shape[1:]:
        raise InterpreterError(
            f"the view of interpreter {called} makes maps of {_size(looks)}, and its honest maps are {_size(honest)}; "
            "expected the same height and width: an attack compares the two."
        )


def check_range(maps: Tensor, called: str) -> None:
    """Raise InterpreterError if a value of ``maps`` is not a finite number in [0, 1].

    Args:
        called: the maker of the maps, for messages, such as ``interpreter cam``.
    """
    low, high = (float(value) for value in torch.aminmax(maps.detach()))
    if low >= -TOLERANCE and high <= 1 + TOLERANCE:  # written so that NaN fails
        return
    if low != low or high != high:
        cause = "NaN comes from a division by 0 or a logarithm of 0, as in the scaling of a map that is 0 everywhere"
    else:
        cause = (
            "scale each map by itself, such as by low, high = maps.amin((1, 2), keepdim=True), "
            "maps.amax((1, 2), keepdim=True) and (maps - low) / (high - low)"
        )
    raise InterpreterError(
        f"{called} makes maps with values from {low:.4g} to {high:.4g}; expected values in [0, 1], 1 = most "
        f"important: {cause}."
    )


def _hint(maps: Any, count: int) -> str:
    if not isinstance(maps, Tensor):
        return ""
    if maps.ndim == 4 and 1 in (len(maps), maps.shape[1]):
        return " Remove the dimension of channels with maps.squeeze(1)."
    if maps.ndim == 4:
        return " Join the channels, such as by maps.abs().amax(1)."
    if maps.ndim == 2 and count == 1:
        return " Add the dimension of images with maps.unsqueeze(0)."
    return ""


def _size(maps: Tensor) -> str:
    return " x ".join(map(str, maps.shape[-2:]))
