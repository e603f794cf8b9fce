"""Ranking of an attack's iterates: the best image so far is kept, and decides when an image may leave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from underfire.arguments import check_at_least, check_choice, check_share
from underfire.attacks.terms import Evading, Point, Prediction
from underfire.errors import InputError
from underfire.later import repr_without
from underfire.user_parts import check_all, guarded

State = dict[str, Tensor]


@dataclass(frozen=True)
class Ranking:
    """The order of the iterates of one image: successful ones first, then those with the smallest criterion.

    Args:
        criterion: ``map``, the L1 distance to the target map, averaged over interpreters (for joint attacks);
            ``prediction``, the cross-entropy (for prediction-only attacks, whose images must not be chosen by their
            maps); ``penalty``, the perturbation's own cost; or ``last``, which keeps the last iterate, successful or
            not.
        confidence: successful iterates with a higher probability of the goal rank first; no such preference if None.
            It never decides about success.
    """

    criterion: Literal["map", "prediction", "penalty", "last"] = "map"
    confidence: float | None = None

    def __post_init__(self) -> None:
        check_choice("criterion", self.criterion, ("map", "prediction", "penalty", "last"))
        if self.confidence is not None:
            check_share("confidence", self.confidence)
            if self.criterion == "last":
                raise InputError(f"confidence is {self.confidence}, and the criterion 'last' keeps the last iterate.")

    @property
    def needs_maps(self) -> bool:
        """True if iterates are ranked by their maps."""
        return self.criterion == "map"

    def start(self, images: Tensor) -> State:
        """Make the state before the first iterate, for images N x C x H x W.

        ``level`` is 0 without success, 1 with success, and 2 with a probability beyond ``confidence``.
        """
        count = len(images)
        return {
            "image": images.detach().clone(),
            "level": images.new_zeros(count, dtype=torch.int64),
            "value": images.new_full((count,), torch.inf),
            "step": images.new_full((count,), -1, dtype=torch.int64),
            "improved": images.new_full((count,), -1, dtype=torch.int64),
            "reference": images.new_full((count,), torch.inf),
        }

    def update(self, best: State, point: Point, images: Tensor, step: int | Tensor, tolerance: float = 0.0) -> State:
        """Return the state after an iterate, which replaces the best one of each image that it beats.

        Args:
            best: the state so far.
            point: the reading of the iterate.
            images: the iterate, N x C x H x W.
            step: the number of the step; an int64 tensor without dimensions if it is known on the device alone.
            tolerance: improvements by a smaller share of the criterion count as none: they do not change ``improved``,
                the step of the last improvement, or ``reference``, the criterion at that step.
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

    def reach(self, best: State, point: Point, images: Tensor, step: int | Tensor) -> State:
        """Return the state after an iterate whose maps are not the honest ones.

        If it meets the goal, it is kept until ``update`` finds a success: rather a success with any map than none.
        Arguments are those of ``update``.
        """
        with torch.no_grad():
            reached = point.goal.reached(point.reading.logits, point.classes) & best["value"].isinf()
        return best | {
            "image": torch.where(reached.view(-1, 1, 1, 1), images, best["image"]),
            "level": torch.where(reached, 1, best["level"]),
            "step": torch.where(reached, step, best["step"]),
            "improved": torch.where(reached, step, best["improved"]),
        }

    def rate(self, point: Point) -> tuple[Tensor, Tensor]:
        """Compute level (int64 N) and criterion (N) of each image, without a graph."""
        with torch.no_grad():
            logits = point.reading.logits
            level = point.goal.reached(logits, point.classes).long()
            if self.confidence is not None:
                level = level * (1 + (point.goal.probability(logits, point.classes) > self.confidence).long())
            if self.criterion == "map":
                value = self.of_maps(point.reading.maps, point.target_maps)
            elif self.criterion == "prediction":
                value = Prediction()(point)
            elif self.criterion == "penalty":
                value = point.penalty
            else:
                value = torch.zeros_like(point.penalty)
            return level, torch.where(value.isnan(), torch.inf, value).detach()  # nothing is below NaN

    def of_maps(self, maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
        """Compute the criterion ``map``, N, from the maps and the wanted ones, N x h x w by interpreter."""
        return map_distance(maps, targets)


@dataclass(frozen=True)
class UnnoticedFirst(Ranking):
    """The order of an attack on a system with detectors: successful iterates that no detector would notice rank first.

    They rank before successful iterates with any probability of the goal: ``level`` is 2 higher for them. Among equal
    levels the criterion decides, as in ``Ranking``.

    Args:
        evading: the terms that know the detectors, at least one.
    """

    evading: tuple[Evading, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        check_all(self.evading, Evading, "evading", "Evade(...)")

    @property
    def needs_maps(self) -> bool:
        """True if iterates are ranked by their maps, or if a detector reads them."""
        return super().needs_maps or any(term.needs_maps for term in self.evading)

    def rate(self, point: Point) -> tuple[Tensor, Tensor]:
        level, value = super().rate(point)
        with torch.no_grad():
            unnoticed = torch.stack([guarded(term, "term").evades(point) for term in self.evading]).all(0)
        return level + 2 * (unnoticed & (level > 0)).long(), value


def map_distance(maps: Mapping[str, Tensor], targets: Mapping[str, Tensor]) -> Tensor:
    """Compute the mean absolute difference per cell, averaged over interpreters. N."""
    return torch.stack([(maps[name] - targets[name]).abs().mean((1, 2)) for name in maps]).mean(0)


@dataclass(frozen=True)
class EarlyStop:
    """The condition under which an image leaves before the last step: success, and enough or no more improvement.

    Args:
        after: the share of the last stage that every image runs.
        patience: the share of the last stage that an image stays without an improvement.
        tolerance: improvements by a smaller share of the criterion do not count.
        enough: an image leaves as soon as its criterion is below this, whatever it could still gain; never if None.
    """

    after: float = 0.5
    patience: float = 0.2
    tolerance: float = 0.01
    enough: float | None = None

    def __post_init__(self) -> None:
        for name in ("after", "patience", "tolerance"):
            check_share(name, getattr(self, name))
        if self.enough is not None:
            check_at_least("enough", self.enough, 0)

    def __repr__(self) -> str:
        return repr_without(self, "enough")

    def looks(self, step: int, steps: int) -> bool:
        """Tell whether images may leave after this step of the last stage, which has ``steps``: 99 times at most."""
        return step % max(1, steps // 50) == 0 and (self.enough is not None or step >= self.after * steps)

    def finished(self, best: Mapping[str, Tensor], step: int, steps: int, idle: Tensor, least: int) -> Tensor:
        """Tell which images have succeeded and may leave, bool N.

        Args:
            best: the state of the ranking, see ``Ranking.start``.
            step, steps: see ``looks``.
            idle: int64 N, the steps since the last improvement.
            least: the smallest number of steps that an image stays without an improvement.
        """
        leaves = (idle > max(least, round(self.patience * steps))) & (step >= self.after * steps)
        leaves &= best["value"].isfinite()  # not before a reading of its honest map, see ``Ranking.reach``
        return (best["level"] > 0) & (leaves if self.enough is None else leaves | (best["value"] < self.enough))
