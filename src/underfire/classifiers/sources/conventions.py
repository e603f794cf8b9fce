"""Networks that take pixels in another range than [0, 1], or blue before red."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from underfire.classifiers.classifier import Classifier, first_channels
from underfire.classifiers.sources.hugging_face import ReversedChannels
from underfire.classifiers.sources.options import Options, Source
from underfire.errors import InputError

ORDERS = ("rgb", "bgr")


def with_bounds(options: Options, source: Source) -> Options:
    """Express the range of pixels that the network takes by a mean and a standard deviation for pixels in [0, 1].

    A mean and a standard deviation of the user's are in the units of the range: 123.7 for pixels in 0..255.
    """
    if options.bounds is None:
        return options
    low, high = options.bounds
    span = high - low
    channels = options.channels or source.channels or first_channels(source.module)
    mean, std = options.mean or (0.0,) * channels, options.std or (1.0,) * channels
    return replace(
        options, mean=tuple((value - low) / span for value in mean), std=tuple(value / span for value in std)
    )


def with_order(classifier: Classifier, order: str | None) -> Classifier:
    """Reverse the channels on their way into the network, if it takes them in the order ``bgr``.

    The classifier's mean and standard deviation are those of the network's order, and are reversed, too.

    Args:
        classifier: a new classifier; it is changed.
        order: ``rgb``, ``bgr``, or None.

    Raises:
        InputError: the order is unknown, or the network does not take three channels.
    """
    if order in (None, "rgb"):
        return classifier
    if order not in ORDERS:
        raise InputError(f"channel_order is {order!r}; expected one of {', '.join(ORDERS)}.")
    if classifier.channels != 3:
        raise InputError(f"channel_order is 'bgr', but the network takes {classifier.channels} channels; expected 3.")
    classifier.module = ReversedChannels(classifier.module)
    classifier.mean, classifier.std = _reversed(classifier.mean), _reversed(classifier.std)
    if classifier.features is not None:
        classifier.features = f"module.{classifier.features}"
    return classifier


def parse_bounds(text: str) -> tuple[float, float]:
    """Read the range of pixels, such as ``-1,1`` or ``0,255``. Raises InputError."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"bounds is {text!r}; expected the smallest and the largest pixel, such as -1,1.") from error
    return low, high


def _reversed(values: Sequence[float] | None) -> tuple[float, ...] | None:
    return None if values is None else tuple(values[::-1])
