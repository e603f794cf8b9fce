"""Chefer's generic explanation of transformers: attention that is weighted by its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire.classifiers import Classifier, Recorded, by_head
from underfire.interpreters.attention import Attentive, attended_of, map_of_rows
from underfire.numerics import full_precision, of_class


@dataclass(frozen=True)
class Chefer(Attentive):
    """Generic attention explainability, for self-attention (Chefer et al. 2021b, eq. 5 and 6).

    With the attention A_l of block l and the gradient G_l of the class's logit in it, R starts as the identity, and
    R <- R + mean over heads of ReLU(G_l * A_l) R, block after block. The map is the row of the class token in R,
    min-max per image. Unlike rollout it depends on the class.
    """

    name: ClassVar[str] = "chefer"

    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        images = images.detach().clone().requires_grad_()
        with torch.enable_grad():
            return self.map_of(classifier.record(images, attention=True), classes)

    def map_of(self, recorded: Recorded, classes: Tensor, graph: bool = False) -> Tensor:
        attended, matrices = attended_of(recorded, "Chefer")
        total = of_class(recorded.logits, classes).sum()
        gradients = torch.autograd.grad(
            total, attended.matrices, create_graph=graph, retain_graph=True, materialize_grads=True
        )
        slopes = [by_head(full_precision(gradient), len(matrices[0])) for gradient in gradients]
        relevances = [slope * matrix for slope, matrix in zip(slopes, matrices, strict=True) if slope is not None]
        return map_of_rows(attended, flow_of(relevances))


def flow_of(relevances: Sequence[Tensor]) -> Tensor:
    """Multiply I + mean over heads of ReLU(relevance) over blocks, the first block on the right; without the final I.

    That I changes no map: it gives all places the same. Beside it, float32 would lose relevance that is small.

    Args:
        relevances: N x heads x L x L per block, first block first.

    Returns:
        N x L x L.
    """
    flow = torch.zeros_like(relevances[0][:, 0])
    for relevance in relevances:
        mean = relevance.clamp_min(0).mean(1)
        flow = flow + mean + mean @ flow
    return flow
