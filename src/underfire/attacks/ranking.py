"""Which iterate of an attack is kept: success first, then the attack's own criterion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from underfire.attacks.terms import Point, Prediction
from underfire.errors import InputError

State = dict[str, Tensor]


@dataclass(frozen=True)
class Ranking:
    """Orders iterates per image.

    Args:
        criterion: what is smallest at the best successful iterate: ``map`` (mean L1 distance to the target map, over
            interpreters; joint attacks), ``prediction`` (cross-entropy; prediction-only attacks) or ``penalty`` (the
            perturbation's own). A prediction-only control must not be picked for its map. ``last`` keeps the last
            iterate, successful or not.
        confidence: successes beyond this probability come before the others; a preference, never the verdict.
    """

    criterion: Literal["map", "prediction", "penalty", "last"] = "map"
    confidence: float | None = None

    def __post_init__(self) -> None:
        if self.criterion not in ("map", "prediction", "penalty", "last"):
            raise InputError(f"criterion is {self.criterion!r}; expected 'map', 'prediction', 'penalty' or 'last'.")

    @property
    def needs_maps(self) -> bool:
        return self.criterion == "map"

    def start(self, images: Tensor) -> State:
        """Nothing found yet. ``level`` is 0 without success, 1 with, 2 beyond ``confidence``."""
        count = len(images)
        return {
            "image": images.detach().clone(),
            "level": images.new_zeros(count, dtype=torch.int64),
            "value": images.new_full((count,), torch.inf),
            "step": images.new_full((count,), -1, dtype=torch.int64),
            "improved": images.new_full((count,), -1, dtype=torch.int64),
            "reference": images.new_full((count,), torch.inf),
        }

    def update(self, best: State, point: Point, images: Tensor, step: int, tolerance: float = 0.0) -> State:
        """Take over the images of ``point`` that rank before the best so far.

        ``improved`` is the last step at which the criterion went down by more than the share ``tolerance`` of
        ``reference``, its value then.
        """
        level, value = self.rate(point)
        better = (
            (level > best["level"])
            | (self.criterion == "last")
            | ((level == best["level"]) & (level > 0) & (value < best["value"]))
        )
        notable = better & ((level > best["level"]) | (value < best["reference"] * (1 - tolerance)))
        return {
            "image": torch.where(better.view(-1, 1, 1, 1), images, best["image"]),
            "level": torch.where(better, level, best["level"]),
            "value": torch.where(better, value, best["value"]),
            "step": torch.where(better, step, best["step"]),
            "improved": torch.where(notable, step, best["improved"]),
            "reference": torch.where(notable, value, best["reference"]),
        }

    def rate(self, point: Point) -> tuple[Tensor, Tensor]:
        """Level (int64 N) and criterion (N) of each image, without a graph."""
        with torch.no_grad():
            logits = point.reading.logits
            level = point.goal.reached(logits, point.classes).long()
            if self.confidence is not None:
                level = level * (1 + (point.goal.probability(logits, point.classes) > self.confidence).long())
            if self.criterion == "map":
                value = map_distance(point.reading.maps, point.target_maps)
            elif self.criterion == "prediction":
                value = Prediction()(point)
            elif self.criterion == "penalty":
                value = point.penalty
            else:
                value = torch.zeros_like(point.penalty)
            return level, value.detach()


def map_distance(maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
    """Mean absolute difference per cell, averaged over interpreters. N."""
    return torch.stack([(maps[name] - targets[name]).abs().mean((1, 2)) for name in maps]).mean(0)


@dataclass(frozen=True)
class EarlyStop:
    """When an image leaves the attack before its last step: it succeeds, and its criterion no longer improves.

    Args:
        after: share of the last stage that every image runs.
        patience: share of the last stage without a notable improvement.
        tolerance: improvements by a smaller share of the criterion do not count.
    """

    after: float = 0.5
    patience: float = 0.2
    tolerance: float = 0.01
