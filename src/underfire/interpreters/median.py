"""MeTFA: the median of a gradient map over noisy copies of the image (Gan et al. 2022)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire.classifiers import Attackable, Classifier, Recorded
from underfire.interpreters.averaged import SampledView, SmoothGrad
from underfire.interpreters.base import State, View
from underfire.interpreters.maps import pooled_map
from underfire.interpreters.smoothing import SmoothRectifiers
from underfire.interpreters.summed import summed


@dataclass(frozen=True)
class MedianGrad(SmoothGrad):
    """The median, in each cell, of the maps of noisy copies of the image.

    Each copy gives a map of its own, pooled and scaled to [0, 1] as for ``Grad``. A few copies with strange maps do not
    move a median, as they move the mean of ``SmoothGrad`` (Gan et al. 2022, "Is your explanation stable?", section 4;
    without its tests of significance). For an even number of copies it is the mean of the two middle values.
    """

    name: ClassVar[str] = "metfa"

    def copy_map(self, run: Callable[[Tensor], Tensor], point: Tensor, classes: Tensor, graph: bool) -> Tensor:
        """Compute the map N x h x w in [0, 1] of one noisy copy."""
        return pooled_map(self._gradient(run, point, classes, graph), self.pool)

    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        images = images.detach()
        maps = [
            self.copy_map(classifier.run, self.point(images, ids, index), classes, False)
            for index in range(self.samples)
        ]
        return (torch.stack(maps) * middles(torch.stack(maps))).sum(0)

    def view(self) -> View:
        return _MedianView(self)


def middles(maps: Tensor) -> Tensor:
    """Compute the weights with which S maps S x N x h x w add up to their median: 1, or 1/2 for two middle values."""
    order, count = maps.argsort(dim=0, stable=True), len(maps)
    weights = torch.zeros_like(maps)
    for place in ((count - 1) // 2, count // 2):
        weights.scatter_add_(0, order[place : place + 1], torch.full_like(maps[:1], 0.5))
    return weights


class _MedianView(SampledView):
    """A view that reads all copies, then adds up the middle values with their gradients, which are exact almost
    everywhere."""

    def __init__(self, interpreter: MedianGrad) -> None:
        self.interpreter = interpreter

    def read(
        self, prepared: Attackable, recorded: Recorded, images: Tensor, classes: Tensor, state: State, graph: bool
    ) -> tuple[Tensor, State]:
        own, ids = self.interpreter, state["ids"]

        def sample(images: Tensor, index: int, graph: bool) -> Tensor:
            with SmoothRectifiers(own.smoothing):
                prepared.backwards += 1 + graph
                return own.copy_map(prepared.run, own.point(images, ids, index), classes, graph)

        maps = torch.stack([sample(images.detach(), index, False) for index in range(own.samples)]).detach()
        weights = middles(maps)
        if not graph:
            return (maps * weights).sum(0), state

        def weighted(images: Tensor, index: int, graph: bool) -> Tensor:
            return sample(images, index, graph) * weights[index]

        return summed(weighted, images, own.samples), state
