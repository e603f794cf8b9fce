"""Chefer's generic explanation of transformers: attention that is weighted by its gradient."""

from __future__ import annotations

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
        flow = torch.eye(matrices[0].shape[-1], dtype=matrices[0].dtype, device=matrices[0].device)
        for matrix, gradient in zip(matrices, gradients, strict=True):
            slope = by_head(full_precision(gradient), len(matrix))
            assert slope is not None
            flow = flow + (slope * matrix).clamp_min(0).mean(1) @ flow
        return map_of_rows(attended, flow)
