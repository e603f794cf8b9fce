"""Grad: how strongly each pixel moves the classifier's loss (Simonyan et al. 2014)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from underfire.classifiers import Attackable, Classifier, Recorded
from underfire.errors import InputError
from underfire.interpreters.base import Interpreter, State, View
from underfire.interpreters.maps import log_odds, pooled_map
from underfire.interpreters.smoothing import Smoothing


@dataclass(frozen=True)
class Grad(Interpreter):
    """|d loss / d pixel|, the largest over channels, average-pooled, min-max per image.

    The loss is the class's log-odds, whose gradient is the cross-entropy's up to a factor per image: the map is the
    same, and does not collapse where the classifier is certain.

    Args:
        pool: side of the pooling window in pixels; None takes 4 for images of at least 128 pixels, 2 from 32, else 1
            (56 x 56 maps at 224, 16 x 16 at 32).
        smoothing: the slope of rectifiers in the attack's view; honest maps never use it.
        view_pixels: the pixels by which the attack's view differentiates: ``raw`` ones in [0, 1], as the honest map
            does, or ``normalised`` ones, as ADV2's published experiments did. They differ where the network's
            normalisation divides the channels by different values.
    """

    name: ClassVar[str] = "grad"
    family: ClassVar[str] = "grad"

    pool: int | None = None
    smoothing: Smoothing = field(default_factory=Smoothing)
    view_pixels: Literal["raw", "normalised"] = "raw"

    def __post_init__(self) -> None:
        if self.view_pixels not in ("raw", "normalised"):
            raise InputError(f"view_pixels is {self.view_pixels!r}; expected 'raw' or 'normalised'.")

    @classmethod
    def published(cls) -> Grad:
        return cls(view_pixels="normalised")

    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        images = images.detach().clone().requires_grad_()
        with torch.enable_grad():
            (gradient,) = torch.autograd.grad(log_odds(classifier.run(images), classes).sum(), images)
        return self.map_of(gradient)

    def map_of(self, gradient: Tensor) -> Tensor:
        """The map N x h x w of an input gradient N x C x H x W."""
        return pooled_map(gradient, self.pool)

    def view(self) -> View:
        return _GradView(self)


class _GradView(View):
    """One forward pass gives the logits and, through its graph, the gradient that the map is made of."""

    def __init__(self, interpreter: Grad) -> None:
        self.interpreter = interpreter
        self.smoothing = interpreter.smoothing

    def read(
        self,
        prepared: Attackable,
        recorded: Recorded,
        images: Tensor,
        classes: Tensor,
        state: State,
        graph: bool,
    ) -> tuple[Tensor, State]:
        total = log_odds(recorded.logits, classes).sum()
        (gradient,) = torch.autograd.grad(total, images, create_graph=graph, retain_graph=True)
        prepared.backwards += 1
        if self.interpreter.view_pixels == "normalised" and prepared.std is not None:
            gradient = gradient * gradient.new_tensor(prepared.std).view(1, -1, 1, 1)
        return self.interpreter.map_of(gradient), state
