"""Pricing: the weight of the prediction term for each image, which follows how well the image meets the goal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from underfire.attacks.terms.base import Point
from underfire.errors import InputError
from underfire.user_parts import guarded, shape_of, shown

State = dict[str, Tensor]


@dataclass(frozen=True)
class Pricing:
    """A price per image on prediction: it falls while the goal is met with some margin, and rises otherwise.

    An objective with a fixed weight on prediction makes the classifier surer of the target class than the goal asks
    for, at the cost of the map. The price falls until the goal is just met, so that each step serves the map as far as
    it can. It takes the place of the constant that Carlini & Wagner (2017) search for.

    Args:
        start: the first price of every image.
        fall: the factor after a step that met the goal.
        rise: the factor after a step that did not.
        margin: how far below 0 the margin must be, in logits, to count as met; see ``Goal.margin``.
        low, high: the bounds of the price.

    Raises:
        InputError: a setting has an impossible value.
    """

    start: float = 1.0
    fall: float = 0.85
    rise: float = 1.3
    margin: float = 0.1
    low: float = 1e-3
    high: float = 30.0

    def __post_init__(self) -> None:
        if not (0 < self.fall <= 1 <= self.rise and 0 < self.low <= self.start <= self.high and self.margin >= 0):
            raise InputError(
                f"{self} is impossible: expected 0 < fall <= 1 <= rise, 0 < low <= start <= high, margin >= 0."
            )

    def begin(self, like: Tensor) -> State:
        """Make the state for the images ``like`` N x ...; ``price``, N, is for the first step."""
        return {"price": like.new_full((len(like),), self.start)}

    def update(self, state: Mapping[str, Tensor], point: Point) -> State:
        """Return the state after a step from ``point``."""
        margin = point.goal.margin(point.reading.logits.detach(), point.classes)
        factor = torch.where(margin < -self.margin, self.fall, self.rise)
        return {"price": (state["price"] * factor).clamp(self.low, self.high)}


def check_pricing(pricing: object) -> None:
    """Raise InputError if ``pricing`` is neither a ``Pricing`` nor None."""
    if pricing is not None and not isinstance(pricing, Pricing):
        raise InputError(f"pricing is {shown(pricing)}; expected a Pricing, or None for no price.")


def first_prices(pricing: Pricing | None, images: Tensor) -> State:
    """Return the state before the first step on ``images`` N x ...; empty if there is no pricing.

    Raises:
        InputError: a pricing of the user's own gives no price per image.
        UserCodeError: it raises an error.
    """
    return {} if pricing is None else _checked(guarded(pricing, "pricing").begin(images), len(images))


def repriced(pricing: Pricing | None, state: State, point: Point) -> State:
    """Return the state after a step from ``point``; the same state if there is no pricing.

    Raises as ``first_prices`` does.
    """
    return state if pricing is None else _checked(guarded(pricing, "pricing").update(state, point), len(point.image))


def _checked(state: Any, count: int) -> State:
    """Return ``state`` if it has a price for each of ``count`` images."""
    price = state.get("price") if isinstance(state, dict) else state
    if not isinstance(state, dict) or not isinstance(price, Tensor) or price.shape != (count,):
        found = f"'price' as {shape_of(price)}" if isinstance(state, dict) else shape_of(state)
        raise InputError(f"the pricing returns {found}; expected a dict with 'price', a tensor of {count} values.")
    return state
