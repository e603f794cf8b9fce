"""Detection of networks that end in a sigmoid.

Values in [0, 1] are not enough to tell, because a ReLU at the end can give them too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from underfire.classifiers.classifier import Classifier

_SIGMOIDS = (torch.sigmoid, torch.special.expit, F.sigmoid, Tensor.sigmoid, Tensor.sigmoid_, torch.sigmoid_)


class _LastSigmoid(TorchFunctionMode):
    """Keeps the output of the last sigmoid, so that no other tensor gets its memory."""

    def __init__(self) -> None:
        super().__init__()
        self.output: Tensor | None = None

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if func in _SIGMOIDS:
            self.output = output
        return output


def ends_in_sigmoid(classifier: Classifier, images: Tensor) -> bool:
    """Return True if the network's output for ``images`` (N x C x H x W) is the output of a sigmoid."""
    with classifier.evaluating(), torch.no_grad(), _LastSigmoid() as seen:
        output = classifier.output(classifier.normalise(images.to(classifier.device)))
    return seen.output is not None and bool(output.data_ptr() == seen.output.data_ptr())
