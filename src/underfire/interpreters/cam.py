"""CAM: the last convolutional features, weighted by the head's weights of the class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from underfire.classifiers import Attackable, Classifier, Recorded
from underfire.errors import InterpreterError
from underfire.interpreters.base import Interpreter, State, View
from underfire.interpreters.maps import min_max
from underfire.numerics import full_precision


def features_of(recorded: Recorded, interpreter: str) -> Tensor:
    """Return the last features N x C x h x w of a forward pass.

    Raises:
        InterpreterError: the network has none; the message begins with the name of the ``interpreter``.
    """
    if recorded.features is None or recorded.features.ndim != 4:
        raise InterpreterError(
            f"{interpreter} needs features N x C x h x w that are pooled before the head, or tokens of a transformer, "
            "and the forward pass of this classifier has none that could be found. Name the module that outputs them: "
            "Classifier(..., features='layer4'). A network without features works with interpreters.Grad(), which "
            "needs none."
        )
    return recorded.features


class ReadsFeatures(Protocol):
    """The part of an interpreter that ``FeatureView`` needs: a map from one forward pass."""

    def map_of(self, recorded: Recorded, classes: Tensor, graph: bool = False) -> Tensor: ...


class FeatureView(View):
    """A view that reads the map from the shared forward pass, exactly as the honest map is read."""

    steps_alike = True

    def __init__(self, interpreter: ReadsFeatures, compilable: bool = False) -> None:
        self.interpreter, self.compilable = interpreter, compilable

    def read(
        self, prepared: Attackable, recorded: Recorded, images: Tensor, classes: Tensor, state: State, graph: bool
    ) -> tuple[Tensor, State]:
        return self.interpreter.map_of(recorded, classes, graph), state


def _mismatch(recorded: Recorded, error: float, accepted: float) -> str:
    """Say how a classifier is not what CAM needs."""
    features, weight = features_of(recorded, "CAM"), recorded.cam_weight()
    unseen = "a head that is written as a product (@, matmul, einsum) is not seen: write it as nn.Linear or F.linear"
    if weight is None:
        return f"this classifier has no linear layer as its head; {unseen}"
    between = "something lies between its features and its head"
    if weight.shape[1] != features.shape[1]:
        taken = f"the last linear layer of this classifier takes {weight.shape[1]} values"
        return f"{taken}, not its {features.shape[1]} features: {between}"
    if weight.shape[0] != recorded.logits.shape[1]:
        made = f"the last linear layer of this classifier returns {weight.shape[0]} values"
        return f"{made}, not its {recorded.logits.shape[1]} logits; {unseen}"
    differ = f"the logits of this classifier differ from that by {error:.2g} (relative; at most {accepted} is accepted)"
    return f"{differ}: {between}"


@dataclass(frozen=True)
class CAM(Interpreter):
    """Class activation maps: sum_k W[c, k] A_k over the last features A, min-max per image (Zhou et al. 2016, eq. 2).

    The classifier's logits must be a linear layer of the spatial mean of A, up to a relative difference of 1e-4, a
    shift of all logits, such as that of a LogSoftmax, and a positive factor, such as a temperature. A batch norm
    between the mean and the layer is part of W.
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
                    "CAM needs logits = linear(mean of the last features over space), and "
                    f"{_mismatch(recorded, error, classifier.tolerance)}. Grad-CAM makes no such assumption: use "
                    "interpreters.GradCAM()."
                )
            return self.map_of(recorded, classes)

    def map_of(self, recorded: Recorded, classes: Tensor, graph: bool = False) -> Tensor:
        """Compute the maps N x h x w of one forward pass; ``graph`` makes no difference."""
        features, weight = full_precision(features_of(recorded, "CAM")), recorded.cam_weight()
        assert weight is not None
        return min_max(torch.einsum("nc,nchw->nhw", weight[classes], features))

    def view(self) -> View:
        return FeatureView(self, compilable=type(self).map_of is CAM.map_of)
