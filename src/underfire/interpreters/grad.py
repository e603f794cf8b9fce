"""Grad: the size of the loss's gradient in each pixel (Simonyan et al. 2014)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from underfire.arguments import check_choice
from underfire.classifiers import Attackable, Classifier, Recorded
from underfire.interpreters.base import Interpreter, State, View
from underfire.interpreters.maps import log_odds, pooled_map
from underfire.interpreters.smoothing import Smoothing
from underfire.numerics import per_channel


@dataclass(frozen=True)
class Grad(Interpreter):
    """Saliency: |d loss / d pixel|, largest over channels, average-pooled, min-max per image (Simonyan et al. 2014).

    The loss is the log-odds of the class. Its gradient is that of the cross-entropy up to a factor per image, so that
    the map is the same; but it does not become 0 if the classifier is certain.

    Args:
        pool: side of the pooling window in pixels. If None: 4 for images of at least 128 pixels, 2 from 32 on, else 1
            (maps of 56 x 56 at 224 pixels, and of 16 x 16 at 32).
        smoothing: the slope of rectifiers in the attack's view; honest maps never use it.
        view_pixels: the pixels in which the attack's view differentiates: ``raw`` pixels in [0, 1], as the honest map
            does, or ``normalised`` pixels, as ADV2's published experiments did. The two differ if the network's
            normalisation divides the channels by different values.
    """

    name: ClassVar[str] = "grad"
    family: ClassVar[str] = "grad"

    pool: int | None = None
    smoothing: Smoothing = field(default_factory=Smoothing)
    view_pixels: Literal["raw", "normalised"] = "raw"

    def __post_init__(self) -> None:
        check_choice("view_pixels", self.view_pixels, ("raw", "normalised"))

    @classmethod
    def published(cls) -> Grad:
        return cls(view_pixels="normalised")

    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        images = images.detach().clone().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(log_odds(classifier.run(images), classes).sum(), images)
        return self.map_of(gradient)

    def map_of(self, gradient: Tensor) -> Tensor:
        """Compute the maps N x h x w of a gradient N x C x H x W in the pixels."""
        return pooled_map(gradient, self.pool)

    def view(self) -> View:
        return _GradView(self)


class _GradView(View):
    """A view that differentiates the shared forward pass to get the map."""

    steps_alike = True

    def __init__(self, interpreter: Grad) -> None:
        self.interpreter = interpreter
        self.smoothing = interpreter.smoothing

    def read(
        self, prepared: Attackable, recorded: Recorded, images: Tensor, classes: Tensor, state: State, graph: bool
    ) -> tuple[Tensor, State]:
        total = log_odds(recorded.logits, classes).sum()
        (gradient,) = torch.autograd.grad(total, images, create_graph=graph, retain_graph=True)
        prepared.backwards += 1
        if self.interpreter.view_pixels == "normalised" and prepared.std is not None:
            gradient = gradient * per_channel(prepared.std, gradient.dtype, gradient.device)
        return self.interpreter.map_of(gradient), state
