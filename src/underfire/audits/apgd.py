"""APGD: the attack on the class alone that chooses its step size itself (Croce & Hein 2020, algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire import randomness
from underfire.attacks.benign import Benign
from underfire.attacks.goal import Goal
from underfire.attacks.perturbations.eps import eight_bit_box
from underfire.attacks.perturbations.rounding import straight_through
from underfire.attacks.progress import Progress
from underfire.attacks.rules import per_image
from underfire.batching import depends_on_batch, padded_size, padding
from underfire.system import SystemView

MOMENTUM = 0.75
"""The share of the new step in each move (alpha)."""
WANTED = 0.75
"""The share of steps that must have raised the objective since the last checkpoint (rho)."""


LEAVE_EVERY = 5
"""Images whose class has changed leave every so many steps."""


def checkpoints(steps: int) -> list[int]:
    """List the steps after which the step size may be halved: at first far apart, later closer together."""
    percent = [0, 22]
    while percent[-1] < 100:
        percent.append(percent[-1] + max(percent[-1] - percent[-2] - 3, 6))
    return [-(-each * steps // 100) for each in percent[1:] if each <= 100]


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the cross-entropy of the own class, N."""
    return F.cross_entropy(logits, labels, reduction="none")


def difference_of_logits(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the difference-of-logits ratio (DLR, Croce & Hein 2020, equation 6), N.

    It is above 0 if another class has the largest logit, and does not change if all logits are scaled or shifted, so
    that a classifier cannot hide its gradients by large logits. With two classes, which have no third logit, it is the
    difference alone.
    """
    margin = Goal(targeted=False).margin(logits, labels)
    if logits.shape[1] < 3:
        return -margin
    top = logits.topk(3, dim=1).values
    return -margin / (top[:, 0] - top[:, 2] + 1e-12)


@dataclass
class _Climb:
    """Images that are on their way, one row each: places in the batch, bounds, and algorithm 1's variables."""

    rows: Tensor
    labels: Tensor
    low: Tensor
    high: Tensor
    image: Tensor
    before: Tensor
    value: Tensor
    gradient: Tensor
    best: Tensor
    best_image: Tensor
    best_gradient: Tensor
    size: Tensor
    raised: Tensor
    size_then: Tensor
    best_then: Tensor

    def only(self, rows: Tensor) -> _Climb:
        return _Climb(**{each.name: getattr(self, each.name)[rows] for each in fields(self)})


def apgd(
    view: SystemView,
    benign: Benign,
    eps: float,
    steps: int,
    *,
    dlr: bool,
    seed: int,
    progress: Progress | None = None,
) -> Tensor:
    """Change the class of images by an attack on the class alone.

    The network sees images at 8 bits, as they are judged, and gradients pass through the rounding. An image whose class
    has changed leaves within a few steps.

    Args:
        view: the differentiable classifier.
        benign: the images. All are attacked at once.
        eps: the radius in L-inf, in pixel units.
        steps: the number of gradients for each image, at least 1.
        dlr: raise the difference-of-logits ratio instead of the cross-entropy.
        seed: of the random starts.
        progress: called after each step.

    Returns:
        N x C x H x W at 8 bits: the first image of another class if one was found, else the one with the largest
        objective.
    """
    objective = difference_of_logits if dlr else cross_entropy
    low, high = eight_bit_box(benign.images, eps)
    words = f"apgd {'dlr' if dlr else 'ce'}"
    drawn = randomness.uniform(seed, benign.ids, words, 0, benign.images.shape[1:])
    start = torch.clamp(benign.images + (2 * drawn.to(benign.images) - 1) * eps, low, high)

    def look(at: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        variable = at.detach().requires_grad_(True)
        with torch.enable_grad():
            logits = view.logits(straight_through(variable))
            value = objective(logits, labels)
            (gradient,) = torch.autograd.grad(value.sum(), variable)
        return value.detach(), gradient, Goal(targeted=False).reached(logits.detach(), labels)

    value, gradient, found = look(start, benign.labels)
    result, rows, size = start, torch.arange(len(start), device=start.device), torch.full_like(value, 2 * eps)
    own = _Climb(
        *(rows, benign.labels, low, high, start, start, value, gradient, value, start, gradient, size),
        *(torch.zeros_like(value), size, value),
    )
    checks, last = checkpoints(steps), 0
    for step in range(1, steps):
        if step % LEAVE_EVERY == 1 and bool(found.any()):
            rest = _rest(found[own.rows])
            if not len(rest):
                return straight_through(result.detach())
            own = own.only(rest)
        ahead = torch.clamp(own.image + per_image(own.size, own.image) * own.gradient.sign(), own.low, own.high)
        # The first step has no former one to keep going with.
        share = 1.0 if step == 1 else MOMENTUM
        moved = own.image + share * (ahead - own.image) + (1 - share) * (own.image - own.before)
        own.before, own.image, former = own.image, torch.clamp(moved, own.low, own.high), own.value
        own.value, own.gradient, wrong = look(own.image, own.labels)
        own.raised = own.raised + (own.value > former)
        higher = own.value > own.best
        _take(own, higher, best_image=own.image, best_gradient=own.gradient, best=own.value)
        already = found[own.rows]
        shown = torch.where(per_image(wrong, own.image), own.image, own.best_image)
        result = result.index_copy(0, own.rows, torch.where(per_image(already, shown), result[own.rows], shown))
        found = found.index_copy(0, own.rows, already | wrong)
        if step in checks:
            idle = (own.size_then == own.size) & (own.best_then == own.best)
            stuck = (own.raised < WANTED * (step - last)) | idle
            own.size_then, own.best_then = own.size, own.best
            _take(own, stuck, size=own.size / 2, image=own.best_image, gradient=own.best_gradient, value=own.best)
            own.raised, last = torch.zeros_like(own.value), step
        if progress is not None:
            progress(step + 1, steps)
    return straight_through(result.detach())


def _take(own: _Climb, where: Tensor, **values: Tensor) -> None:
    """Give the images at ``where``, bool N, other values."""
    for name, value in values.items():
        setattr(own, name, torch.where(per_image(where, value), value, getattr(own, name)))


def _rest(found: Tensor) -> Tensor:
    """List the rows that go on, filled up as a batch is. On a GPU all go on until none has to."""
    rest = (~found).nonzero().flatten()
    if depends_on_batch(found.device) and len(rest):
        return torch.arange(len(found), device=found.device)
    return rest[padding(len(rest), padded_size(len(rest)), rest.device)]
