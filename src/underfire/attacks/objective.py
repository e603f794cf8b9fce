"""The objective of a move: the weighted sum of its loss terms, over terms and images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from underfire.attacks.numbers import Number, scaled
from underfire.attacks.schedule import Move
from underfire.attacks.terms.base import Point, values_of


def objective(
    move: Move, point: Point, weights: Sequence[Number], prices: Mapping[str, Tensor]
) -> tuple[list[Tensor], Tensor]:
    """Evaluate the terms of a move, and their weighted sum.

    Args:
        move: its terms.
        point: the reading of the images, and all else that terms look at.
        weights: the weight of each term.
        prices: the state of the attack's ``Pricing``; empty without one.

    Returns:
        The value of each term without its weight, N each, and the sum over terms and images.
    """
    values = [values_of(weighted.term, point) for weighted in move.terms]
    sums = [
        (value * prices["price"] if weighted.priced and prices else value).sum()
        for weighted, value in zip(move.terms, values, strict=True)
    ]
    return values, torch.stack([scaled(weight, total) for weight, total in zip(weights, sums, strict=True)]).sum()
