"""Networks that take pixels in another range than [0, 1], or blue before red."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from torch import Tensor, nn

from underfire.errors import InputError, warn

ORDERS = ("rgb", "bgr")

LARGEST_OF_8_BITS = 256
"""The largest value that networks see of images of 8 bits without normalisation, rounded up."""

USUAL = 4
"""Networks that normalise by the mean and the spread of natural images see values up to 3 or so."""

Values = Sequence[float] | None


class ReversedChannels(nn.Module):
    """Passes images on with their channels reversed, for networks that take blue, green, red."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Any:
        return self.module(images.flip(1))


def check_bounds(bounds: Any) -> tuple[float, float]:
    """Return ``bounds`` as two floats. Raises InputError unless they are the smallest and the largest pixel."""
    values = bounds.tolist() if hasattr(bounds, "tolist") else bounds  # an array of NumPy, or a tensor
    pair = isinstance(values, Sequence) and len(values) == 2 and all(isinstance(value, Real) for value in values)
    if not pair or not (_are_numbers(values) and values[0] < values[1]):
        raise InputError(
            f"bounds is {bounds!r}; expected the smallest and the largest pixel, two finite numbers such as (-1, 1)."
        )
    return float(values[0]), float(values[1])


def in_unit_range(mean: Values, std: Values, bounds: Any, channels: int) -> tuple[Values, Values]:
    """Express what a network takes by a mean and a standard deviation for pixels in [0, 1], one per channel.

    Args:
        mean, std: in the units of ``bounds``, such as 123.7 for pixels in 0..255; None for pixels as they are.
        bounds: the smallest and the largest pixel; None for (0, 1).
        channels: the number of channels.

    Returns:
        Mean and standard deviation; None for both if the network takes pixels in [0, 1].

    Raises:
        InputError: ``bounds`` are no range; ``mean`` and ``std`` are not one number per channel; or they were surely
            computed for pixels in another range.
    """
    low, high = (0.0, 1.0) if bounds is None else check_bounds(bounds)
    if (mean is None) != (std is None):
        raise InputError(
            "mean and std come together: give both, or neither for a network that takes pixels as they are."
        )
    if mean is not None and std is not None:
        _check(mean, std, channels)
        _check_units(mean, std, low, high)
    if bounds is None:
        return mean, std
    span = high - low
    mean, std = (0.0,) * channels if mean is None else mean, (1.0,) * channels if std is None else std
    return tuple((value - low) / span for value in mean), tuple(value / span for value in std)


def _are_numbers(values: Any) -> bool:
    try:
        return all(math.isfinite(value) for value in values) and len(values) > 0
    except (TypeError, ValueError, OverflowError):  # no sequence, or one of other things than numbers of usual size
        return False


def _check(mean: Sequence[float], std: Sequence[float], channels: int) -> None:
    for name, values in (("mean", mean), ("std", std)):
        if isinstance(values, Mapping) or not _are_numbers(values):
            raise InputError(f"{name} is {values!r}; expected {channels} numbers, one per channel, such as (0.5, ...).")
    if len(mean) != channels or len(std) != channels:
        raise InputError(f"mean has {len(mean)} and std {len(std)} values; expected {channels}, one per channel.")
    if min(std) <= 0:
        raise InputError(f"std is {tuple(std)}; expected positive values.")


def _check_units(mean: Sequence[float], std: Sequence[float], low: float, high: float) -> None:
    """Raise InputError if ``mean`` and ``std`` are not for pixels in low..high; warn if that is likely.

    They surely are not if they go beyond the range of pixels; if the network would see values larger than those of an
    8-bit image, and larger than its pixels are; or if they make these very bounds from pixels in [0, 1].
    """
    given = f"mean is {_shown(mean)} and std is {_shown(std)}"
    if max(mean) > high or max(std) > high - low:
        if (low, high) == (0.0, 1.0):
            raise InputError(
                f"{given}: they go beyond 1, and look like values for pixels in 0..255. Pixels are in [0, 1] here: "
                "divide both by 255, or give bounds=(0, 255), too."
            )
        raise InputError(
            f"{given}, and bounds is {(low, high)}: they go beyond the range of these pixels. Expected mean and std in "
            "the units of bounds. Were they computed for pixels in another range?"
        )
    if (low, high) == (0.0, 1.0):
        return
    mean, std = [float(value) for value in mean], [float(value) for value in std]

    def seen(pixel: float) -> list[float]:
        return [(pixel - each) / spread for each, spread in zip(mean, std, strict=True)]

    largest = max(map(abs, seen(low) + seen(high)))
    twice = all(abs(value - low) < 1e-6 for value in seen(0)) and all(abs(value - high) < 1e-6 for value in seen(1))
    likely = (
        f"{given}, and bounds is {(low, high)}, so that the network would see values as large as {largest:.4g}. mean "
        "and std are in the units of bounds; these look like values for pixels in [0, 1]. If they are, leave bounds out"
    )
    if twice or largest > max(LARGEST_OF_8_BITS, -low, high):
        raise InputError(f"{likely}.")
    if largest > USUAL and all(0 < each < 1 for each in mean) and max(std) <= 1:
        warn(f"{likely}; if they are not, this warning means nothing.")


def _shown(values: Sequence[float]) -> str:
    return f"({', '.join(f'{float(value):.4g}' for value in values)})"


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
