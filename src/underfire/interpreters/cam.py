"""CAM: where the last convolutional features speak for a class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire.classifiers import Attackable, Classifier, Recorded
from underfire.errors import InterpreterError
from underfire.interpreters.base import Interpreter, State, View
from underfire.interpreters.maps import min_max
from underfire.numerics import full_precision


def features_of(recorded: Recorded, interpreter: str) -> Tensor:
    """The last convolutional features N x C x h x w. Raises InterpreterError where there are none."""
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
            features_of(recorded, "CAM")
            error = recorded.cam_error()
            if not error <= classifier.tolerance:
                raise InterpreterError(
                    "CAM needs logits = linear(mean of the last features over space), and this classifier's differ "
                    f"from that by {error:.2g} (relative; at most {classifier.tolerance} is accepted): something lies "
                    "between its features and its head. Grad-CAM makes no such assumption: use interpreters.GradCAM()."
                )
            return self.map_of(recorded, classes)

    def map_of(self, recorded: Recorded, classes: Tensor) -> Tensor:
        """The map N x h x w of one forward pass."""
        features, weight = full_precision(features_of(recorded, "CAM")), recorded.weight
        assert weight is not None
        if weight.shape[0] == 1:  # a single logit z stands for the two logits (0, z)
            weight = torch.cat([torch.zeros_like(weight), weight])
        return min_max(torch.einsum("nc,nchw->nhw", weight[classes], features))

    def view(self) -> View:
        return _CAMView(self)


class _CAMView(View):
    def __init__(self, interpreter: CAM) -> None:
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
        return self.interpreter.map_of(recorded, classes), state
