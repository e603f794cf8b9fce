"""CAM and Grad-CAM: where the last convolutional features speak for a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire.classifiers import Classifier, Prepared, Recorded
from underfire.errors import InterpreterError
from underfire.interpreters.base import Interpreter, State, View
from underfire.interpreters.maps import min_max

CAM_TOLERANCE = 1e-4


def _features(recorded: Recorded, interpreter: str) -> Tensor:
    if recorded.features is None or recorded.features.ndim != 4:
        raise InterpreterError(
            f"{interpreter} needs convolutional features N x C x h x w that are pooled before the head, and none were "
            "seen in this classifier's forward pass. Name the module whose output they are: "
            "Classifier(..., features='layer4'). A network without convolutional features (a vision transformer) has "
            "none to name: use interpreters.Grad(), which needs nothing but the network."
        )
    return recorded.features


@dataclass(frozen=True)
class CAM(Interpreter):
    """sum_k W[c, k] A_k over the last convolutional features A, min-max per image (Zhou et al. 2016).

    Needs a classifier whose logits are a linear layer of the features' spatial mean, to 1e-4.
    """

    name: ClassVar[str] = "cam"
    family: ClassVar[str] = "cam"

    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        with torch.no_grad():
            recorded = classifier.record(images)
            _features(recorded, "CAM")
            error = recorded.cam_error()
            if not error <= CAM_TOLERANCE:
                raise InterpreterError(
                    "CAM needs logits = linear(mean of the last features over space), and this classifier's differ "
                    f"from that by {error:.2g} (relative; at most {CAM_TOLERANCE} is accepted): something lies between "
                    "its features and its head. Grad-CAM makes no such assumption: use interpreters.GradCAM()."
                )
            return self.map_of(recorded, classes)

    def map_of(self, recorded: Recorded, classes: Tensor) -> Tensor:
        """The map N x h x w of one forward pass."""
        features, weight = _features(recorded, "CAM"), recorded.weight
        assert weight is not None
        if weight.shape[0] == 1:  # a single logit z stands for the two logits (0, z)
            weight = torch.cat([torch.zeros_like(weight), weight])
        return min_max(torch.einsum("nc,nchw->nhw", weight.detach()[classes], features))

    def view(self) -> View:
        return _FeatureView(self)


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
        features = _features(recorded, "Grad-CAM")
        total = recorded.logits.gather(1, classes.unsqueeze(1)).sum()
        (gradient,) = torch.autograd.grad(total, features, create_graph=graph, retain_graph=True)
        weights = gradient.mean((2, 3))
        return min_max(torch.einsum("nc,nchw->nhw", weights, features).clamp_min(0))

    def view(self) -> View:
        return _FeatureView(self)


class _FeatureView(View):
    def __init__(self, interpreter: CAM | GradCAM) -> None:
        self.interpreter = interpreter

    def read(
        self,
        prepared: Prepared,
        recorded: Recorded,
        images: Tensor,
        classes: Tensor,
        state: State,
        graph: bool,
    ) -> tuple[Tensor, State]:
        if isinstance(self.interpreter, CAM):
            return self.interpreter.map_of(recorded, classes), state
        return self.interpreter.map_of(recorded, classes, graph), state
