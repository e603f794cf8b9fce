"""APGD: the attack on the class alone that chooses its step size itself (Croce & Hein 2020, algorithm 1)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire import randomness
from underfire.attacks.benign import Benign
from underfire.attacks.goal import Goal
from underfire.attacks.perturbations.eps import eight_bit_box
from underfire.attacks.perturbations.rounding import straight_through
from underfire.attacks.rules import per_image
from underfire.system import SystemView

MOMENTUM = 0.75
"""The share of the new step in each move (alpha)."""
WANTED = 0.75
"""The share of steps that must have raised the objective since the last checkpoint (rho)."""


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


def apgd(view: SystemView, benign: Benign, eps: float, steps: int, *, dlr: bool, seed: int) -> Tensor:
    """Change the class of images by an attack on the class alone.

    The network sees images at 8 bits, as they are judged, and gradients pass through the rounding.

    Args:
        view: the differentiable classifier.
        benign: the images. All are attacked at once.
        eps: the radius in L-inf, in pixel units.
        steps: the number of gradients for each image, at least 1.
        dlr: raise the difference-of-logits ratio instead of the cross-entropy.
        seed: of the random starts.

    Returns:
        N x C x H x W at 8 bits: an image of another class if one was found, else the one with the largest objective.
    """
    objective = difference_of_logits if dlr else cross_entropy
    low, high = eight_bit_box(benign.images, eps)
    words = f"apgd {'dlr' if dlr else 'ce'}"
    drawn = randomness.uniform(seed, benign.ids, words, 0, benign.images.shape[1:])
    image = torch.clamp(benign.images + (2 * drawn.to(benign.images) - 1) * eps, low, high)

    def look(at: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        variable = at.detach().requires_grad_(True)
        with torch.enable_grad():
            logits = view.logits(straight_through(variable))
            value = objective(logits, benign.labels)
            (gradient,) = torch.autograd.grad(value.sum(), variable)
        return value.detach(), gradient, Goal(targeted=False).reached(logits.detach(), benign.labels)

    value, gradient, found = look(image)
    result = image
    best, best_image, best_gradient = value, image, gradient
    size = torch.full_like(value, 2 * eps)
    before, raised = image, torch.zeros_like(value)
    size_then, best_then = size.clone(), best.clone()
    checks, last = checkpoints(steps), 0
    for step in range(1, steps):
        ahead = torch.clamp(image + per_image(size, image) * gradient.sign(), low, high)
        # The first step has no former one to keep going with.
        share = 1.0 if step == 1 else MOMENTUM
        moved = torch.clamp(image + share * (ahead - image) + (1 - share) * (image - before), low, high)
        before, image, former = image, moved, value
        value, gradient, wrong = look(image)
        raised += value > former
        result = torch.where(per_image(wrong & ~found, image), image, result)
        found = found | wrong
        higher = value > best
        best_image = torch.where(per_image(higher, image), image, best_image)
        best_gradient = torch.where(per_image(higher, image), gradient, best_gradient)
        best = torch.where(higher, value, best)
        if step in checks:
            stuck = (raised < WANTED * (step - last)) | ((size_then == size) & (best_then == best))
            size_then, best_then = size.clone(), best.clone()
            size = torch.where(stuck, size / 2, size)
            image = torch.where(per_image(stuck, image), best_image, image)
            gradient = torch.where(per_image(stuck, image), best_gradient, gradient)
            value = torch.where(stuck, best, value)
            raised, last = torch.zeros_like(value), step
    chosen = torch.where(per_image(found, image), result, best_image)
    return straight_through(chosen.detach())
