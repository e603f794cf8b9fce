"""The goal of an attack on the prediction: reach a class, or leave one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.arguments import check_choice
from underfire.numerics import is_class, of_class


@dataclass(frozen=True)
class Goal:
    """The goal on the prediction. Every method takes logits N x K and one class c per image, int64 N.

    Args:
        targeted: True if the classifier shall predict c; False if c is the image's own class, which it shall not
            predict.
    """

    targeted: bool = True

    def __post_init__(self) -> None:
        check_choice("targeted", self.targeted, (True, False))

    def reached(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Return True for images that meet the goal, bool N. An image with NaN or infinite logits never does."""
        return ((logits.argmax(1) == classes) == self.targeted) & torch.isfinite(logits).all(1)

    def probability(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Compute the probability that the goal is met: p_c if targeted, else 1 - p_c. N in [0, 1]."""
        chosen = of_class(logits.softmax(1), classes)
        return chosen if self.targeted else 1 - chosen

    def explained(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Return the classes whose maps an analyst would look at, int64 N.

        These are the target classes; untargeted, the most likely of the classes other than c.
        """
        return classes if self.targeted else without(logits, classes).argmax(1)

    def margin(self, logits: Tensor, classes: Tensor) -> Tensor:
        """Compute the distance to the goal in logits, N; negative if the goal is met."""
        chosen = of_class(logits, classes)
        gap = without(logits, classes).amax(1) - chosen
        return gap if self.targeted else -gap

    def cross_entropy(
        self, logits: Tensor, classes: Tensor, smoothing: float = 0.0, share: float | None = None
    ) -> Tensor:
        """Compute the cross-entropy, -log of the probability that the goal is met. N >= 0.

        Args:
            smoothing: label smoothing, in [0, 1): the goal is given the probability 1 - ``smoothing``.
            share: the probability that each other class is given, if targeted; ``smoothing`` / (K - 1) if None.
        """
        if self.targeted:
            log_p = F.log_softmax(logits, 1)
            wanted = of_class(log_p, classes)
            if not smoothing:
                return -wanted
            share = smoothing / (logits.shape[1] - 1) if share is None else share
            return -(1 - smoothing) * wanted - share * (log_p.sum(1) - wanted)
        total = logits.logsumexp(1)
        wanted = without(logits, classes).logsumexp(1) - total
        kept = of_class(logits, classes) - total
        return -(1 - smoothing) * wanted - smoothing * kept


def without(logits: Tensor, classes: Tensor) -> Tensor:
    """Set the logit of each image's class to -inf. Not to 0, because all logits may be negative."""
    return logits.masked_fill(is_class(classes, logits.shape[1]), -torch.inf)
