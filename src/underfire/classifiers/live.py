"""The network itself, without a copy, with the interface that attacks use: for attacks during training."""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.classifiers.modes import evaluating
from underfire.classifiers.pixels import Pixels
from underfire.numerics import math_attention, precision_of, weights_dtype


class Live(Pixels):
    """A network that can be attacked while it is trained, because nothing is copied.

    Every forward pass runs the network with its present weights, in evaluation mode; afterwards each of its modules has
    its own mode again. Weights are not detached: gradients flow to all parameters that require them. The interface is
    that of ``Prepared`` (see ``Attackable``), and so is the second derivative of attention layers.

    Args:
        classifier: the classifier whose network, normalisation and ``features`` are used.
    """

    convolutions_in_eights = False  # trainings are to be quick

    def __init__(self, classifier: Pixels) -> None:
        super().__init__(classifier.module, classifier.mean, classifier.std, classifier.features, classifier.reader)
        self.forwards = self.backwards = 0

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the weights; float32 if there are none."""
        return weights_dtype(self.module) or torch.float32

    @property
    def precision(self) -> str:
        """The name of the precision of the weights, as ``Classifier.prepare`` takes it."""
        return precision_of(self.dtype)

    def run(self, images: Tensor, *, twice: bool = True) -> Tensor:
        """Compute the logits N x K of images N x C x H x W in [0, 1], and count the pass.

        Args:
            twice: False if the pass will be differentiated once at most: attention may then use its fused kernels, and
                it needs less memory.
        """
        self.forwards += 1
        with evaluating(self.module), math_attention(twice):
            return super().run(images)
