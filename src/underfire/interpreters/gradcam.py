"""Grad-CAM and its relatives: features weighted by the gradient of the class's logit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire.classifiers import Attackable, Classifier, Recorded
from underfire.interpreters.base import Interpreter, State, View
from underfire.interpreters.cam import features_of
from underfire.interpreters.maps import min_max
from underfire.numerics import full_precision


@dataclass(frozen=True)
class GradCAM(Interpreter):
    """ReLU(sum_k a_k A_k) with a_k the mean gradient of the class's logit for feature map k (Selvaraju et al. 2017).

    Equal to CAM up to scale before the ReLU where the head is linear on the pooled features.
    """

    name: ClassVar[str] = "gradcam"
    family: ClassVar[str] = "cam"

    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        images = images.detach().clone().requires_grad_()
        with torch.enable_grad():
            recorded = classifier.record(images)
            return self.map_of(recorded, classes)

    def map_of(self, recorded: Recorded, classes: Tensor, graph: bool = False) -> Tensor:
        """The map N x h x w of one forward pass with gradients enabled."""
        features = features_of(recorded, type(self).__name__)
        total = recorded.logits.gather(1, classes.unsqueeze(1)).sum()
        (gradient,) = torch.autograd.grad(total, features, create_graph=graph, retain_graph=True)
        return min_max(self.combine(full_precision(features), full_precision(gradient)).clamp_min(0))

    def combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        """The map before its ReLU, N x h x w, of features and their gradient N x C x h x w."""
        return torch.einsum("nc,nchw->nhw", gradient.mean((2, 3)), features)

    def view(self) -> View:
        return _GradCAMView(self)


@dataclass(frozen=True)
class GradCAMPlusPlus(GradCAM):
    """Grad-CAM++: a_k = sum over places of alpha * ReLU(g), with g the gradient and
    alpha = g^2 / (2 g^2 + sum_places(A_k) g^3), which is the published one for exp(logit) (Chattopadhay et al. 2018,
    eq. 19, where the exponential's factors cancel); 0 where the denominator is 0.
    """

    name: ClassVar[str] = "gradcam++"

    def combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        square = gradient.square()
        below = 2 * square + features.sum((2, 3), keepdim=True) * square * gradient
        alpha = torch.where(below == 0, 0.0, square / torch.where(below == 0, 1.0, below))
        weights = (alpha * gradient.clamp_min(0)).sum((2, 3))
        return torch.einsum("nc,nchw->nhw", weights, features)


@dataclass(frozen=True)
class LayerCAM(GradCAM):
    """sum_k ReLU(g) * A_k: each place by its own gradient (Jiang et al. 2021, eq. 8)."""

    name: ClassVar[str] = "layercam"

    def combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        return (gradient.clamp_min(0) * features).sum(1)


class _GradCAMView(View):
    def __init__(self, interpreter: GradCAM) -> None:
        self.interpreter = interpreter

    def read(
        self,
        prepared: Attackable,
        recorded: Recorded,
        images: Tensor,
        classes: Tensor,
        state: State,
        graph: bool,
    ) -> tuple[Tensor, State]:
        return self.interpreter.map_of(recorded, classes, graph), state
