"""What counts as fooling the classifier: reaching a class, or leaving one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Goal:
    """Targeted: the class c is to be predicted. Untargeted: the class c (the image's own) is not to be predicted.

    Every method takes logits N x K and the goal's classes c, int64 N.
    """

    targeted: bool = True

    def reached(self, logits: Tensor, classes: Tensor) -> Tensor:
        """bool N."""
        return (logits.argmax(1) == classes) == self.targeted

    def probability(self, logits: Tensor, classes: Tensor) -> Tensor:
        """The probability of what is wanted: p_c, or 1 - p_c. N in [0, 1]."""
        chosen = logits.softmax(1).gather(1, classes.unsqueeze(1)).squeeze(1)
        return chosen if self.targeted else 1 - chosen

    def explained(self, logits: Tensor, classes: Tensor) -> Tensor:
        """The class whose map an analyst would look at: the target, or the strongest of the other classes."""
        return classes if self.targeted else without(logits, classes).argmax(1)

    def margin(self, logits: Tensor, classes: Tensor) -> Tensor:
        """How far the goal is away, in logits: negative once it is reached. N."""
        chosen = logits.gather(1, classes.unsqueeze(1)).squeeze(1)
        gap = without(logits, classes).amax(1) - chosen
        return gap if self.targeted else -gap

    def cross_entropy(
        self, logits: Tensor, classes: Tensor, smoothing: float = 0.0, share: float | None = None
    ) -> Tensor:
        """-log of the wanted event's probability, N >= 0.

        Args:
            smoothing: the probability that is left to what is not wanted; class c gets 1 - ``smoothing``.
            share: targeted, what each of the other classes gets; an equal part of ``smoothing`` where None.
        """
        if self.targeted:
            log_p = F.log_softmax(logits, 1)
            wanted = log_p.gather(1, classes.unsqueeze(1)).squeeze(1)
            if not smoothing:
                return -wanted
            share = smoothing / (logits.shape[1] - 1) if share is None else share
            return -(1 - smoothing) * wanted - share * (log_p.sum(1) - wanted)
        total = logits.logsumexp(1)
        wanted = without(logits, classes).logsumexp(1) - total
        kept = logits.gather(1, classes.unsqueeze(1)).squeeze(1) - total
        return -(1 - smoothing) * wanted - smoothing * kept


def without(logits: Tensor, classes: Tensor) -> Tensor:
    """Logits with each row's class set to -inf: never to 0, since all logits may be negative."""
    chosen = F.one_hot(classes, logits.shape[1]).bool()
    return logits.masked_fill(chosen, -torch.inf)
