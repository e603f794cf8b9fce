"""Grad-CAM and its relatives: features weighted by the gradient of the class's logit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire.classifiers import Classifier, Recorded, warn_of_ways_beside
from underfire.errors import InterpreterError
from underfire.interpreters.base import Interpreter, View
from underfire.interpreters.cam import FeatureView, features_of
from underfire.interpreters.maps import min_max
from underfire.numerics import full_precision, of_class


@dataclass(frozen=True)
class GradCAM(Interpreter):
    """Grad-CAM: ReLU(sum_k a_k A_k), min-max per image (Selvaraju et al. 2017, eq. 1 and 2).

    A are the last features, and a_k is the mean over space of the gradient of the class's logit in A_k.
    If the head is linear on the pooled features, the sum equals CAM's up to scale.
    """

    name: ClassVar[str] = "gradcam"
    family: ClassVar[str] = "cam"

    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        images = images.detach().clone().requires_grad_()
        with torch.enable_grad():
            recorded = classifier.record(images)
            gradient = self._gradient(recorded, classes, False)
            if recorded.arrangement is not None and recorded.arrangement.extra and not bool(gradient.any()):
                raise self._without_gradient()
            warn_of_ways_beside(classifier, images, type(self).__name__)
            return self._map(recorded, gradient)

    def map_of(self, recorded: Recorded, classes: Tensor, graph: bool = False) -> Tensor:
        """Compute the maps N x h x w of one forward pass that was made with gradients enabled.

        Args:
            graph: True if the maps will be differentiated.
        """
        return self._map(recorded, self._gradient(recorded, classes, graph))

    def _gradient(self, recorded: Recorded, classes: Tensor, graph: bool) -> Tensor:
        features_of(recorded, type(self).__name__)
        gradient = recorded.gradient(of_class(recorded.logits, classes).sum(), graph)
        if gradient is None:
            raise self._without_gradient()
        return gradient

    def _map(self, recorded: Recorded, gradient: Tensor) -> Tensor:
        features = features_of(recorded, type(self).__name__)
        return min_max(self.combine(full_precision(features), full_precision(gradient)).clamp_min(0))

    def _without_gradient(self) -> InterpreterError:
        return InterpreterError(
            f"{type(self).__name__} differentiates the class's logit in the last features, and it does not depend on "
            "those that were named. A transformer that reads a class token makes no use of its other tokens after the "
            "last attention: name a module before that, such as features='blocks.11.norm1'."
        )

    def combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Compute the maps before their ReLU, N x h x w, from features and their gradient, both N x C x h x w."""
        return torch.einsum("nc,nchw->nhw", gradient.mean((2, 3)), features)

    def view(self) -> View:
        return FeatureView(self)


@dataclass(frozen=True)
class GradCAMPlusPlus(GradCAM):
    """Grad-CAM++: Grad-CAM with a_k = sum over space of alpha * ReLU(g) (Chattopadhay et al. 2018, eq. 19).

    g is the gradient in A_k, and alpha = g^2 / (2 g^2 + sum_space(A_k) g^3), or 0 if the denominator is 0. That is the
    paper's alpha for exp(logit): the factors from the exponential cancel.
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
    """LayerCAM: sum_k ReLU(g) * A_k, with one weight per place and channel (Jiang et al. 2021, eq. 8)."""

    name: ClassVar[str] = "layercam"

    def combine(self, features: Tensor, gradient: Tensor) -> Tensor:
        return (gradient.clamp_min(0) * features).sum(1)
