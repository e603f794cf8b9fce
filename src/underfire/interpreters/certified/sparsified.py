"""Sparsified SmoothGrad (Levine et al. 2019): how often each cell is among the most important ones, under noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import ClassVar

import torch
from torch import Tensor

from underfire import randomness
from underfire.arguments import check_at_least
from underfire.classifiers import Attackable, Classifier, Recorded
from underfire.errors import InputError
from underfire.interpreters.averaged import SampledView
from underfire.interpreters.base import Interpreter, State, View
from underfire.interpreters.ensemble.aggregate import straight
from underfire.interpreters.maps import log_odds, pooled_map
from underfire.interpreters.smoothing import Smoothing, SmoothRectifiers
from underfire.interpreters.summed import summed


@dataclass(frozen=True)
class SparsifiedSmoothGrad(Interpreter):
    """The share of noisy copies of the image in which a cell is among the ``share`` most important ones.

    A cell's importance in a copy is the pooled gradient of the class's log-odds, as for ``Grad``. Because each copy
    contributes 0 or 1 to a cell, Gaussian noise bounds how far the expected map can move if the image does: see
    ``certify`` (Levine et al. 2019, "Certifiably robust interpretation in deep learning", section 4).

    Args:
        samples: the number of noisy copies; each takes a forward and a backward pass.
        noise: standard deviation of the noise, for pixels in [0, 1].
        share: the share of cells, in (0, 1), that count as important in a copy.
        pool: side of the pooling window in pixels; as for ``Grad`` if None.
        seed: seed of the noise. An image always gets the same noise with the same seed.
        smoothing: the slope of rectifiers in the attack's view; honest maps never use it.
        width: the attack's view has the values of the honest selection, and the gradient of a sigmoid of this width
            around the threshold, in a copy's map that is scaled to [0, 1].
    """

    name: ClassVar[str] = "sparsified"
    family: ClassVar[str] = "grad"

    samples: int = 64
    noise: float = 0.25
    share: float = 0.1
    pool: int | None = None
    seed: int = 0
    smoothing: Smoothing = field(default_factory=Smoothing)
    width: float = 0.05

    def __post_init__(self) -> None:
        check_at_least("samples", self.samples, 1)
        for name in ("noise", "width"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}; expected a positive number.")
        if not 0 < self.share < 1:
            raise InputError(f"share is {self.share}; expected a share of the cells in (0, 1).")

    def point(self, images: Tensor, ids: Tensor, index: int) -> Tensor:
        """Make noisy copy number ``index`` of images N x C x H x W, for their identities ``ids``, int64 N."""
        drawn = randomness.uniform(self.seed, ids, "sparsified", index, images.shape[1:]).to(images.dtype)
        normal: Tensor = torch.special.ndtri(drawn.clamp(2**-25, 1 - 2**-25))
        return images + self.noise * normal

    def importance(self, run: Callable[[Tensor], Tensor], point: Tensor, classes: Tensor, graph: bool) -> Tensor:
        """Compute the cells' importance N x h x w in [0, 1] for one noisy copy."""
        with torch.enable_grad():
            point = point if graph else point.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(log_odds(run(point), classes).sum(), point, create_graph=graph)
        return pooled_map(gradient, self.pool)

    def cells(self, importance: Tensor) -> int:
        """Return the number of cells that count as important in a copy: ``share`` of them, at least one."""
        total = importance.shape[1] * importance.shape[2]
        return min(max(1, round(self.share * total)), total - 1)

    def selected(self, importance: Tensor) -> Tensor:
        """Mark the most important cells of N x h x w by 1, exactly ``cells`` of them in each copy; others by 0."""
        flat = importance.flatten(1)
        top = flat.topk(self.cells(importance), dim=1).indices
        return torch.zeros_like(flat).scatter_(1, top, 1.0).view_as(importance)

    def softly_selected(self, importance: Tensor) -> Tensor:
        """Mark the most important cells by a sigmoid, whose middle lies between the last marked cell and the next."""
        ordered, count = importance.flatten(1).sort(1, descending=True).values, self.cells(importance)
        threshold = (ordered[:, count - 1] + ordered[:, count]) / 2
        return torch.sigmoid((importance - threshold.view(-1, 1, 1)) / self.width)

    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        images = images.detach()
        total: Tensor | None = None
        for index in range(self.samples):
            found = self.selected(self.importance(classifier.run, self.point(images, ids, index), classes, False))
            total = found if total is None else total + found
        assert total is not None
        return total / self.samples

    def reseeded(self, offset: int = 1) -> SparsifiedSmoothGrad:
        return replace(self, seed=self.seed + offset)

    def sketch(self) -> SparsifiedSmoothGrad:
        return replace(self, samples=1)

    @property
    def sketches(self) -> int | None:
        return self.samples

    def view(self) -> View:
        return _SparsifiedView(self)


class _SparsifiedView(SampledView):
    """A view that selects cells in each noisy copy, with smooth slopes of rectifiers."""

    def __init__(self, interpreter: SparsifiedSmoothGrad) -> None:
        self.interpreter = interpreter

    def read(
        self, prepared: Attackable, recorded: Recorded, images: Tensor, classes: Tensor, state: State, graph: bool
    ) -> tuple[Tensor, State]:
        own, ids = self.interpreter, state["ids"]

        def sample(images: Tensor, index: int, graph: bool) -> Tensor:
            with SmoothRectifiers(own.smoothing):
                prepared.backwards += 1 + graph
                seen = own.importance(prepared.run, own.point(images, ids, index), classes, graph)
            return straight(own.selected(seen.detach()), own.softly_selected(seen)) if graph else own.selected(seen)

        return summed(sample, images, own.samples) / own.samples, state
