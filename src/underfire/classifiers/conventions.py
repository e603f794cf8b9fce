"""Networks that take pixels in another range than [0, 1], or blue before red."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real
from typing import Any

from torch import Tensor, nn

from underfire.errors import InputError

ORDERS = ("rgb", "bgr")

Values = Sequence[float] | None


class ReversedChannels(nn.Module):
    """Passes images on with their channels reversed, for networks that take blue, green, red."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Any:
        return self.module(images.flip(1))


def check_bounds(bounds: Any) -> None:
    """Raise InputError unless ``bounds`` are the smallest and the largest pixel."""
    pair = isinstance(bounds, Sequence) and len(bounds) == 2 and all(isinstance(value, Real) for value in bounds)
    if not pair or not bounds[0] < bounds[1]:
        raise InputError(f"bounds is {bounds!r}; expected the smallest and the largest pixel, such as (-1, 1).")


def in_unit_range(mean: Values, std: Values, bounds: Any, channels: int) -> tuple[Values, Values]:
    """Express the range of pixels that a network takes by a mean and a standard deviation for pixels in [0, 1].

    Args:
        mean, std: in the units of the range, such as 123.7 for pixels in 0..255; None for pixels as they are.
        bounds: the smallest and the largest pixel.
        channels: the number of channels.

    Raises:
        InputError: ``bounds`` are no range.
    """
    check_bounds(bounds)
    low, span = bounds[0], bounds[1] - bounds[0]
    mean, std = (0.0,) * channels if mean is None else mean, (1.0,) * channels if std is None else std
    return tuple((value - low) / span for value in mean), tuple(value / span for value in std)


def is_reversed(order: str | None, channels: int) -> bool:
    """Return True for ``bgr``. Raises InputError if the order is unknown, or is ``bgr`` without three channels."""
    if order not in (None, *ORDERS):
        raise InputError(f"channel_order is {order!r}; expected one of {', '.join(ORDERS)}.")
    if order == "bgr" and channels != 3:
        raise InputError(f"channel_order is 'bgr', but the network takes {channels} channels; expected 3.")
    return order == "bgr"


def parse_bounds(text: str) -> tuple[float, float]:
    """Read the range of pixels, such as ``-1,1`` or ``0,255``. Raises InputError."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"bounds is {text!r}; expected the smallest and the largest pixel, such as -1,1.") from error
    return low, high
