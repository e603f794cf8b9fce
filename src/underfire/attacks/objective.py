"""The terms of an attack's objective. Each gives one value per image; the objective is their weighted sum over images,
so that images do not interact."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from underfire.attacks.goal import Goal
from underfire.errors import InputError
from underfire.system import Reading


@dataclass(frozen=True)
class Point:
    """Where an objective is evaluated: a reading, what is wanted, the perturbation's own penalty (N), and what it is
    multiplied with (N)."""

    reading: Reading
    classes: Tensor
    goal: Goal
    target_maps: Mapping[str, Tensor]
    penalty: Tensor
    price: Tensor


class Term(ABC):
    """A loss term: ``__call__`` gives N values to be minimised. ``needs_maps`` says whether it reads maps."""

    name: ClassVar[str]
    needs_maps: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, point: Point) -> Tensor: ...


@dataclass(frozen=True)
class Prediction(Term):
    """l_prd: how far the classifier is from the goal ([ADV2] eq. 4).

    Args:
        loss: ``cross_entropy``; ``margin``: max(z_other - z_target, -kappa) (Carlini & Wagner 2017); or ``logit``:
            minus the target's logit, without end.
        smoothing: label smoothing of the cross-entropy; the target class gets 1 - ``smoothing``.
        share: what label smoothing gives each other class; ``smoothing`` / (K - 1) where None.
        kappa: confidence that the margin loss asks for, in logits.
    """

    name: ClassVar[str] = "prediction"

    loss: Literal["cross_entropy", "margin", "logit"] = "cross_entropy"
    smoothing: float = 0.0
    share: float | None = None
    kappa: float = 0.0

    def __post_init__(self) -> None:
        if self.loss not in ("cross_entropy", "margin", "logit"):
            raise InputError(f"loss is {self.loss!r}; expected 'cross_entropy', 'margin' or 'logit'.")
        if not 0 <= self.smoothing < 1:
            raise InputError(f"smoothing is {self.smoothing}; expected a value in [0, 1).")

    def __call__(self, point: Point) -> Tensor:
        logits, classes = point.reading.logits, point.classes
        if self.loss == "margin":
            return point.goal.margin(logits, classes).clamp_min(-self.kappa)
        if self.loss == "logit":
            chosen = logits.gather(1, classes.unsqueeze(1)).squeeze(1)
            return -chosen if point.goal.targeted else chosen
        return point.goal.cross_entropy(logits, classes, self.smoothing, self.share)


@dataclass(frozen=True)
class Interpretation(Term):
    """l_int: squared difference between the maps and their targets ([ADV2] eq. 5), averaged over a view's looks and
    added over interpreters.

    Args:
        reduction: ``mean`` or ``sum`` over a map's cells; the published Grad setting sums.
        interpreter: only this one's map; all of them where None.
    """

    name: ClassVar[str] = "interpretation"
    needs_maps: ClassVar[bool] = True

    reduction: Literal["mean", "sum"] = "mean"
    interpreter: str | None = None

    def __call__(self, point: Point) -> Tensor:
        looks = point.reading.looks
        names = looks if self.interpreter is None else (self.interpreter,)
        return torch.stack([self._distance(looks[name], point.target_maps[name]) for name in names]).sum(0)

    def _distance(self, looks: Tensor, targets: Tensor) -> Tensor:
        """The mean over looks N x r x h x w of each one's distance to ``targets`` N x h x w. N."""
        squares = (looks - targets.unsqueeze(1)).square()
        return squares.mean((1, 2, 3)) if self.reduction == "mean" else squares.mean(1).sum((1, 2))


@dataclass(frozen=True)
class Presence(Term):
    """What an interpreter adds beyond its map: RTS's presence or encoder term ([ADV2] section 3.4)."""

    name: ClassVar[str] = "presence"
    needs_maps: ClassVar[bool] = True

    term: str = field(default="presence")

    def __call__(self, point: Point) -> Tensor:
        return point.reading.terms.get(self.term, torch.zeros_like(point.penalty))


@dataclass(frozen=True)
class Penalty(Term):
    """The perturbation's own penalty: C&W's distortion, StAdv's flow smoothness."""

    name: ClassVar[str] = "penalty"

    def __call__(self, point: Point) -> Tensor:
        return point.penalty * point.price
