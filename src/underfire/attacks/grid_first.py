"""The first phase of the published adaptive attack: targets that survive a reduction of the bit depth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire.arguments import whole_number
from underfire.attacks.benign import Benign
from underfire.attacks.class_rule import Choice, ClassRule
from underfire.attacks.goal import Goal
from underfire.attacks.perturbations.eps import EPS, check_eps, eight_bit_box
from underfire.batching import in_batches
from underfire.system import SystemView
from underfire.transforms.squeezers import BitDepth

_TOGETHER = 32
"""The number of images that are searched at once."""


@dataclass(frozen=True)
class GridFirst(ClassRule):
    """The class that untargeted steps on the grid of few bits lead to ([ADV2] section 4.5, phase one).

    The search looks at images of ``bits`` bits alone: those that ``bit-depth`` makes of 8-bit images in the ball. Each
    step moves every value by one level of that grid, along the sign of the gradient. Of all steps, the image with the
    highest probability of a class other than its own counts. Its most likely other class is the target class t, and its
    class probabilities are the wanted ones, p*. An image with these probabilities hardly changes its prediction when
    its bit depth is reduced. Each step is one forward and one backward pass, which results do not count.

    Args:
        bits: the bits per value of the grid, 1 to 7.
        eps: the radius of the ball in L-inf, in pixel units. It does not follow the attack's own radius, so that
            attacks of several radii have the same targets.
        steps: the number of steps.
    """

    name: ClassVar[str] = "grid"
    needs_maps: ClassVar[bool] = False

    bits: int = 3
    eps: float = EPS
    steps: int = 10

    def __post_init__(self) -> None:
        BitDepth(self.bits)
        check_eps("eps", self.eps)
        object.__setattr__(self, "steps", whole_number("steps", self.steps, 1))

    def classes(self, view: SystemView, benign: Benign, seed: int) -> Tensor:
        return self.choose(view, benign, seed).classes

    def choose(self, view: SystemView, benign: Benign, seed: int) -> Choice:
        def search(images: Tensor, labels: Tensor) -> Tensor:
            return self._search(view, images, labels)

        logits = in_batches(search, benign.images, benign.labels, batch_size=_TOGETHER)
        return Choice(Goal(targeted=False).explained(logits, benign.labels), logits.softmax(1))

    @torch.enable_grad()
    def _search(self, view: SystemView, images: Tensor, labels: Tensor) -> Tensor:
        """Return the logits N x K of the best image on the grid."""
        goal, levels = Goal(targeted=False), BitDepth(self.bits).levels
        low, high = ((bound * levels).round() for bound in eight_bit_box(images, self.eps))
        grid = (images * levels).round()
        best: Tensor | None = None
        for step in range(self.steps + 1):
            image = (grid / levels).requires_grad_()
            logits = view.look(image, graph=step < self.steps).logits
            found = logits.detach()
            if best is None:
                best = found
            better = goal.probability(found, labels) > goal.probability(best, labels)
            best = torch.where(better.unsqueeze(1), found, best)
            if step < self.steps:
                (gradient,) = torch.autograd.grad(goal.cross_entropy(logits, labels).sum(), image)
                grid = torch.minimum(torch.maximum(grid - gradient.sign(), low), high)
        assert best is not None
        return best
