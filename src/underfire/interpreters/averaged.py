"""SmoothGrad and integrated gradients: input gradients averaged over several images near the one that is explained."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from underfire import randomness
from underfire.classifiers import Attackable, Classifier, Recorded
from underfire.errors import InputError
from underfire.interpreters.base import Interpreter, State, View
from underfire.interpreters.maps import log_odds, pooled_map
from underfire.interpreters.smoothing import Smoothing, SmoothRectifiers


@dataclass(frozen=True)
class Averaged(Interpreter):
    """The mean gradient of the class's log-odds at ``samples`` points that depend on the image.

    Args:
        samples: forward and backward passes per map.
        pool: side of the pooling window in pixels; as for ``Grad`` where None.
        smoothing: the slope of rectifiers in the attack's view; honest maps never use it.
    """

    family: ClassVar[str] = "grad"

    samples: int = 16
    pool: int | None = None
    smoothing: Smoothing = field(default_factory=Smoothing)

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError(f"samples is {self.samples}; expected 1 or more.")

    @abstractmethod
    def point(self, images: Tensor, ids: Tensor, index: int) -> Tensor:
        """Where the gradient of sample ``index`` is taken, like ``images`` N x C x H x W."""

    def attribution(self, images: Tensor, gradient: Tensor) -> Tensor:
        """What each value contributes, of the mean gradient."""
        return gradient

    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        images = images.detach()
        total = torch.zeros_like(images)
        for index in range(self.samples):
            total += self._gradient(classifier.run, self.point(images, ids, index), classes, False)
        return pooled_map(self.attribution(images, total / self.samples), self.pool)

    def _gradient(self, run: Callable[[Tensor], Tensor], point: Tensor, classes: Tensor, graph: bool) -> Tensor:
        with torch.enable_grad():
            point = point if graph else point.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(log_odds(run(point), classes).sum(), point, create_graph=graph)
        return gradient

    def view(self) -> View:
        return _AveragedView(self)


@dataclass(frozen=True)
class SmoothGrad(Averaged):
    """The mean gradient at the image with Gaussian noise (Smilkov et al. 2017).

    Args:
        noise: standard deviation of the noise, in pixels in [0, 1].
        seed: of the noise, which is the same for an image whenever it is explained.
    """

    name: ClassVar[str] = "smoothgrad"

    noise: float = 0.1
    seed: int = 0

    def point(self, images: Tensor, ids: Tensor, index: int) -> Tensor:
        drawn = randomness.uniform(self.seed, ids, "smoothgrad", index, images.shape[1:]).to(images.dtype)
        inside = drawn.clamp(2**-25, 1 - 2**-25)
        normal: Tensor = torch.special.ndtri(inside)
        return images + self.noise * normal

    def reseeded(self, offset: int = 1) -> SmoothGrad:
        return replace(self, seed=self.seed + offset)


@dataclass(frozen=True)
class IntegratedGradients(Averaged):
    """(x - x0) times the mean gradient on the straight line from x0 to the image (Sundararajan et al. 2017, eq. 1), by
    the midpoint rule.

    Args:
        baseline: every pixel of x0.
    """

    name: ClassVar[str] = "ig"

    baseline: float = 0.0

    def point(self, images: Tensor, ids: Tensor, index: int) -> Tensor:
        return self.baseline + (images - self.baseline) * ((index + 0.5) / self.samples)

    def attribution(self, images: Tensor, gradient: Tensor) -> Tensor:
        return (images - self.baseline) * gradient


class _AveragedView(View):
    """Makes a pass of its own for each sample, with smooth slopes; only the logits come from the shared pass.

    State: ``ids``, for what is drawn per image.
    """

    in_place = False

    def __init__(self, interpreter: Averaged) -> None:
        self.interpreter = interpreter

    def begin(self, prepared: Attackable, images: Tensor, classes: Tensor, ids: Tensor) -> State:
        return {"ids": ids}

    def read(
        self,
        prepared: Attackable,
        recorded: Recorded,
        images: Tensor,
        classes: Tensor,
        state: State,
        graph: bool,
    ) -> tuple[Tensor, State]:
        own = self.interpreter
        total = torch.zeros_like(images)
        with SmoothRectifiers(own.smoothing):
            for index in range(own.samples):
                total = total + own._gradient(prepared.run, own.point(images, state["ids"], index), classes, graph)
        prepared.backwards += own.samples * (1 + graph)
        return pooled_map(own.attribution(images, total / own.samples), own.pool), state
