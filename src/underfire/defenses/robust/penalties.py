"""The penalties of robust training: what a loss has beside cross-entropy, and an inner attack may ascend."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.classifiers import Live, Recorded
from underfire.defenses.robust.attribution import attribution_norms
from underfire.defenses.robust.curvature import largest_eigenvalues
from underfire.defenses.robust.discrepancy import class_maps, discrepancy
from underfire.defenses.robust.pieces import pieces, sum_over


@dataclass(frozen=True)
class Given:
    """The images, labels and forward passes of one training step, from which a penalty is computed.

    Args:
        live: the network as it stands, in evaluation mode, where each image is by itself.
        images: clean images, N x C x H x W in [0, 1].
        attacked: attacked images; None if there are none.
        labels: int64 N.
        passes: the forward passes of clean and attacked images; None for those that were not made.
        parameters: the parameters that are trained.
        segments: the gradients on a line of integrated gradients.
    """

    live: Live
    images: Tensor
    attacked: Tensor | None
    labels: Tensor
    passes: tuple[Recorded | None, Recorded | None]
    parameters: Sequence[Tensor]
    segments: int


class Penalty(ABC):
    """A part of a loss beside cross-entropy, weighed by the recipe's ``gamma``.

    Attributes:
        name: its name among the recorded values.
        passes: True if it reads the forward passes of both kinds of image.
        differentiates: True if it takes gradients in images.
        integrates: True if it takes them on a line.
    """

    name: ClassVar[str]
    passes: ClassVar[bool] = False
    differentiates: ClassVar[bool] = False
    integrates: ClassVar[bool] = False

    @abstractmethod
    def mean(self, given: Given) -> Tensor:
        """Compute the mean over images, a scalar that is differentiable in the parameters."""

    def ascended(
        self, live: Live, images: Tensor, labels: Tensor, segments: int
    ) -> Callable[[Tensor, Recorded | None], Tensor]:
        """Return what an inner attack ascends: a function of attacked images and their forward pass, to N.

        Args:
            live: the network as it stands.
            images: clean images, N x C x H x W in [0, 1].
            labels: int64 N.
            segments: the gradients on a line of integrated gradients.

        Raises:
            NotImplementedError: the penalty reads clean images alone, so that there is nothing to ascend. No objective
                of the registry asks for it.
        """
        raise NotImplementedError(f"no attack ascends {self.name}")


class MapDiscrepancy(Penalty):
    """D2, the discrepancy of class activation maps (Boopathy et al. 2020); see ``discrepancy``."""

    name = "maps"
    passes = True

    def mean(self, given: Given) -> Tensor:
        clean, attacked = given.passes
        assert clean is not None
        assert attacked is not None
        return discrepancy(class_maps(clean), class_maps(attacked), attacked.logits, given.labels).mean()

    def ascended(
        self, live: Live, images: Tensor, labels: Tensor, segments: int
    ) -> Callable[[Tensor, Recorded | None], Tensor]:
        with torch.no_grad():
            maps = class_maps(live.record(images))

        def value(attacked: Tensor, recorded: Recorded | None) -> Tensor:
            assert recorded is not None
            return discrepancy(maps, class_maps(recorded), recorded.logits, labels)

        return value


class AttributionNorm(Penalty):
    """|IG(x, x')|_1, IG of the cross-entropy from the clean to the attacked image (Chen et al. 2019).

    A step works off its images in pieces, so that it holds the graphs of about as many points as it has images, or of
    one image's points if these are more.
    """

    name = "attribution"
    differentiates = True
    integrates = True

    def mean(self, given: Given) -> Tensor:
        images, attacked, labels = given.images, given.attacked, given.labels
        assert attacked is not None

        def value(part: slice) -> Tensor:
            return attribution_norms(_losses(given.live), images[part], attacked[part], labels[part], given.segments)

        return sum_over(pieces(len(images), given.segments), value, given.parameters) / len(images)

    def ascended(
        self, live: Live, images: Tensor, labels: Tensor, segments: int
    ) -> Callable[[Tensor, Recorded | None], Tensor]:
        return lambda attacked, recorded: attribution_norms(_losses(live), images, attacked, labels, segments)


class Curvature(Penalty):
    """The largest eigenvalue of the Hessian of the loss in the clean image (Wang et al. 2020)."""

    name = "curvature"
    differentiates = True

    def mean(self, given: Given) -> Tensor:
        return largest_eigenvalues(given.live.run, given.images).mean()


def _losses(live: Live) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda images, labels: F.cross_entropy(live.run(images), labels, reduction="none")
