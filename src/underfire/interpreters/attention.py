"""Maps from the attention of transformers: that of the last block, and attention rollout through all blocks."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, cast

import torch
from torch import Tensor

from underfire.arguments import check_choice
from underfire.classifiers import Attended, Classifier, Recorded, by_head
from underfire.errors import InputError, InterpreterError
from underfire.interpreters.base import Interpreter, View
from underfire.interpreters.cam import FeatureView
from underfire.interpreters.maps import min_max
from underfire.numerics import full_precision

Fusion = Literal["mean", "max", "min"]
FUSIONS: tuple[Fusion, ...] = ("mean", "max", "min")


def attended_of(recorded: Recorded, interpreter: str) -> tuple[Attended, list[Tensor]]:
    """Return the attention of a pass, and its matrices as N x heads x L x L, first layer first.

    Raises:
        InterpreterError: the network has no attention between all tokens of an image; the message begins with the name
            of the ``interpreter``.
    """
    attended, images = recorded.attention, len(recorded.logits)
    if attended is None or not attended.matrices:
        raise InterpreterError(
            f"{interpreter} needs a transformer, and no attention was seen in the forward pass of this classifier: "
            "neither torch's scaled_dot_product_attention or MultiheadAttention, nor a softmax over the last of three "
            "or four axes. interpreters.GradCAM() needs none."
        )
    matrices = [by_head(matrix, images) for matrix in attended.matrices]
    lengths = {tuple(matrix.shape[-2:]) for matrix in attended.matrices}
    square = len(lengths) == 1 and len(set(next(iter(lengths)))) == 1
    if any(matrix is None for matrix in matrices) or not square or attended.arrangement is None:
        shapes = sorted({tuple(matrix.shape) for matrix in attended.matrices})
        raise InterpreterError(
            f"{interpreter} needs attention between all tokens of the image in every layer, and the matrices of this "
            f"classifier have the shapes {shapes} for {images} images: attention in windows, over channels or between "
            "different sets of tokens cannot be multiplied. Use interpreters.GradCAM()."
        )
    return attended, [full_precision(cast(Tensor, matrix)) for matrix in matrices]


def map_of_rows(attended: Attended, flow: Tensor) -> Tensor:
    """Make maps N x h x w from N x L x L: the row of the token that the head reads, min-max per image.

    If the head reads the mean of the tokens, the row is the mean of their rows.
    """
    assert attended.arrangement is not None
    extra = attended.arrangement.extra
    row = flow[:, extra:].mean(1) if attended.pooled or not extra else flow[:, 0]
    maps = attended.arrangement.row(row)
    # A constant factor, so that no map of small values looks constant to min_max.
    largest = maps.detach().abs().amax((1, 2), keepdim=True)
    return min_max(maps / torch.where(largest > 0, largest, 1.0))


@dataclass(frozen=True)
class Attentive(Interpreter):
    """An interpreter that reads the matrices of attention of one forward pass."""

    family: ClassVar[str] = "attention"

    @abstractmethod
    def map_of(self, recorded: Recorded, classes: Tensor, graph: bool = False) -> Tensor:
        """Compute the maps N x h x w of one forward pass that kept its attention.

        Args:
            graph: True if the maps will be differentiated.
        """

    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        with torch.no_grad():
            return self.map_of(classifier.record(images, attention=True), classes)

    def view(self) -> View:
        return AttentionView(self)


class AttentionView(FeatureView):
    """A view that reads the map from the shared forward pass, which keeps the matrices of attention."""

    attention = True


@dataclass(frozen=True)
class Attention(Attentive):
    """The attention of the last block: how much the class token attends to each patch, min-max per image.

    The map does not depend on the class that is explained.

    Args:
        fusion: of the heads: ``mean``, ``max`` or ``min``.
    """

    name: ClassVar[str] = "attention"

    fusion: Fusion = "mean"

    def __post_init__(self) -> None:
        check_choice("fusion", self.fusion, FUSIONS)

    @classmethod
    def from_argument(cls, argument: str) -> Attention:
        """Make the interpreter with a fusion of heads, such as ``attention:max``."""
        return cls(cast(Fusion, argument))  # the constructor refuses other texts

    def map_of(self, recorded: Recorded, classes: Tensor, graph: bool = False) -> Tensor:
        attended, matrices = attended_of(recorded, "Attention")
        return map_of_rows(attended, fused(matrices[-1], self.fusion))


@dataclass(frozen=True)
class Rollout(Attentive):
    """Attention rollout (Abnar & Zuidema 2020, section 3): the product of (A_l + I) / 2 over all blocks l.

    A_l is the attention of block l, fused over its heads, and every row of (A_l + I) / 2 is scaled to sum to 1. The map
    is the row of the class token, min-max per image. It does not depend on the class that is explained.

    Args:
        fusion: of the heads: ``mean`` as in the paper, ``max`` or ``min``.
        discard: the share of the smallest values of each A_l that are set to 0 first, from 0 (as in the paper) to below
            1. Users of rollout on images often take 0.9.
    """

    name: ClassVar[str] = "rollout"

    fusion: Fusion = "mean"
    discard: float = 0.0

    def __post_init__(self) -> None:
        check_choice("fusion", self.fusion, FUSIONS)
        if not 0 <= self.discard < 1:
            raise InputError(f"discard is {self.discard}; expected a share from 0 to below 1.")

    @classmethod
    def from_argument(cls, argument: str) -> Rollout:
        """Make the interpreter with a fusion of heads, a share to discard, or both: ``max``, ``0.9`` or ``max:0.9``."""
        *fusion, last = argument.split(":", 1)
        try:
            discard = float(last)
        except ValueError:
            return cls(cast(Fusion, argument))  # the constructor refuses other texts
        return cls(cast(Fusion, fusion[0] if fusion else "mean"), discard)

    def map_of(self, recorded: Recorded, classes: Tensor, graph: bool = False) -> Tensor:
        attended, matrices = attended_of(recorded, "Rollout")
        identity = torch.eye(matrices[0].shape[-1], dtype=matrices[0].dtype, device=matrices[0].device)
        flow: Tensor | None = None
        for matrix in matrices:
            mixed = self._kept(fused(matrix, self.fusion)) + identity
            mixed = mixed / mixed.sum(-1, keepdim=True)
            flow = mixed if flow is None else mixed @ flow
        assert flow is not None
        return map_of_rows(attended, flow)

    def _kept(self, matrix: Tensor) -> Tensor:
        """Set the smallest values of each matrix N x L x L to 0."""
        values = matrix.flatten(1)
        count = int(values.shape[1] * self.discard)
        if not count:
            return matrix
        smallest = values.detach().topk(count, dim=1, largest=False).indices
        dropped = torch.zeros_like(values, dtype=torch.bool).scatter(1, smallest, True)
        return values.masked_fill(dropped, 0.0).view_as(matrix)


def fused(matrix: Tensor, fusion: Fusion) -> Tensor:
    """Fuse N x heads x L x L over the heads, to N x L x L."""
    if fusion == "mean":
        return matrix.mean(1)
    return matrix.amax(1) if fusion == "max" else matrix.amin(1)
