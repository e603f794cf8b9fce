"""Is a network's output that of a sigmoid? Values in [0, 1] do not tell: a ReLU at the end makes such ones too."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from underfire.classifiers.classifier import Classifier

_SIGMOIDS = (torch.sigmoid, torch.special.expit, F.sigmoid, Tensor.sigmoid, Tensor.sigmoid_, torch.sigmoid_)


class _LastSigmoid(TorchFunctionMode):
    """Holds the output of the last sigmoid, so that its memory is not given to another tensor."""

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
    """Whether what the network returns for ``images`` (N x C x H x W) came out of a sigmoid."""
    with classifier.evaluating(), torch.no_grad(), _LastSigmoid() as seen:
        output = classifier.module(classifier.convert(classifier.normalise(images.to(classifier.device))))
    output = getattr(output, "logits", output)
    return seen.output is not None and bool(output.data_ptr() == seen.output.data_ptr())
