"""The prediction term: the distance of the classifier's answer from the goal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor

from underfire.arguments import check_at_least, check_choice
from underfire.attacks.terms.base import Point, Term
from underfire.errors import InputError
from underfire.numerics import of_class

LOSSES = ("cross_entropy", "margin", "logit")


@dataclass(frozen=True)
class Prediction(Term):
    """l_prd, the distance of the classifier's answer from the goal ([ADV2] eq. 4).

    Args:
        loss: ``cross_entropy``; ``margin``, which is max(z_other - z_target, -kappa) (Carlini & Wagner 2017); or
            ``logit``, minus the target's logit, which has no lower bound.
        smoothing: label smoothing of the cross-entropy, in [0, 1): the target class gets 1 - ``smoothing``.
        share: what label smoothing gives to each other class; ``smoothing`` / (K - 1) if None.
        kappa: the confidence in logits, at least 0, beyond which the margin loss asks for no more.

    Raises:
        InputError: a setting has an impossible value, or does not belong to the loss.
    """

    name: ClassVar[str] = "prediction"

    loss: Literal["cross_entropy", "margin", "logit"] = "cross_entropy"
    smoothing: float = 0.0
    share: float | None = None
    kappa: float = 0.0

    def __post_init__(self) -> None:
        check_choice("loss", self.loss, LOSSES)
        if not 0 <= self.smoothing < 1:
            raise InputError(f"smoothing is {self.smoothing}; expected a value in [0, 1).")
        if self.share is not None:
            check_at_least("share", self.share, 0)
        check_at_least("kappa", self.kappa, 0)
        used = {"cross_entropy": ("smoothing", "share"), "margin": ("kappa",), "logit": ()}[self.loss]
        for name in ("smoothing", "share", "kappa"):
            if getattr(self, name) and name not in used:
                raise InputError(
                    f"{name} is {getattr(self, name)}, and the loss {self.loss!r} has none: smoothing and share belong "
                    "to 'cross_entropy', and kappa to 'margin'."
                )
        if self.share and not self.smoothing:
            raise InputError(f"share is {self.share}, and smoothing is 0: there is nothing to share.")

    def __call__(self, point: Point) -> Tensor:
        logits, classes = point.reading.logits, point.classes
        if self.loss == "margin":
            return point.goal.margin(logits, classes).clamp_min(-self.kappa)
        if self.loss == "logit":
            chosen = of_class(logits, classes)
            return -chosen if point.goal.targeted else chosen
        return point.goal.cross_entropy(logits, classes, self.smoothing, self.share)
