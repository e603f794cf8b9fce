"""SmoothGrad and integrated gradients: input gradients, averaged over several images near the explained image."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from underfire import randomness
from underfire.arguments import check_at_least
from underfire.classifiers import Attackable, Classifier, Recorded
from underfire.interpreters.base import Interpreter, State, View
from underfire.interpreters.maps import log_odds, pooled_map
from underfire.interpreters.smoothing import Smoothing, SmoothRectifiers
from underfire.interpreters.summed import summed


@dataclass(frozen=True)
class Averaged(Interpreter):
    """The mean gradient of the class's log-odds at ``samples`` points that depend on the image.

    Args:
        samples: the number of points; each takes a forward and a backward pass.
        pool: side of the pooling window in pixels; as for ``Grad`` if None.
        smoothing: the slope of rectifiers in the attack's view; honest maps never use it.
    """

    family: ClassVar[str] = "grad"

    samples: int = 16
    pool: int | None = None
    smoothing: Smoothing = field(default_factory=Smoothing)

    def __post_init__(self) -> None:
        check_at_least("samples", self.samples, 1)

    @abstractmethod
    def point(self, images: Tensor, ids: Tensor, index: int) -> Tensor:
        """Compute the points N x C x H x W at which sample ``index`` takes the gradient.

        Args:
            images: N x C x H x W in [0, 1].
            ids: int64 N, the images' identities, for random numbers.
        """

    def attribution(self, images: Tensor, gradient: Tensor) -> Tensor:
        """Compute the contribution of each pixel value, N x C x H x W, from the mean gradient."""
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

    def sketch(self) -> Averaged:
        return replace(self, samples=1)

    @property
    def sketches(self) -> int | None:
        return self.samples

    def view(self) -> View:
        return _AveragedView(self)


@dataclass(frozen=True)
class SmoothGrad(Averaged):
    """SmoothGrad: the mean gradient at the image with Gaussian noise (Smilkov et al. 2017, section 3).

    Args:
        noise: standard deviation of the noise, for pixels in [0, 1].
        seed: seed of the noise. An image always gets the same noise with the same seed.
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
    """Integrated gradients: (x - x0) times the mean gradient on the line from x0 to the image x.

    The integral (Sundararajan et al. 2017, eq. 1) is approximated by the midpoint rule.

    Args:
        baseline: the value of every pixel of x0.
    """

    name: ClassVar[str] = "ig"

    baseline: float = 0.0

    def point(self, images: Tensor, ids: Tensor, index: int) -> Tensor:
        return self.baseline + (images - self.baseline) * ((index + 0.5) / self.samples)

    def attribution(self, images: Tensor, gradient: Tensor) -> Tensor:
        return (images - self.baseline) * gradient


class SampledView(View):
    """A view that runs one more pass for each sample of an image; subclasses put the samples' maps together.

    State: ``ids`` int64 N, the images' identities.
    """

    in_place = False
    steps_alike = True

    def begin(self, prepared: Attackable, images: Tensor, classes: Tensor, ids: Tensor) -> State:
        return {"ids": ids}


class _AveragedView(SampledView):
    """A view of the mean of all samples, with smooth slopes of rectifiers."""

    def __init__(self, interpreter: Averaged) -> None:
        self.interpreter = interpreter

    def read(
        self, prepared: Attackable, recorded: Recorded, images: Tensor, classes: Tensor, state: State, graph: bool
    ) -> tuple[Tensor, State]:
        own, ids = self.interpreter, state["ids"]

        def sample(images: Tensor, index: int, graph: bool) -> Tensor:
            with SmoothRectifiers(own.smoothing):
                prepared.backwards += 1 + graph
                return own._gradient(prepared.run, own.point(images, ids, index), classes, graph)

        total = summed(sample, images, own.samples)
        return pooled_map(own.attribution(images, total / own.samples), own.pool), state
