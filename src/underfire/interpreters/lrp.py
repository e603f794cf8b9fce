"""LRP: layer-wise relevance propagation."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, cast

import torch
from torch import Tensor

from underfire.arguments import check_known
from underfire.classifiers import Attackable, Classifier, Recorded
from underfire.errors import InputError
from underfire.interpreters.base import Interpreter, State, View
from underfire.interpreters.maps import pooled_map
from underfire.interpreters.propagation import Propagation, Rule
from underfire.interpreters.smoothing import Smoothing
from underfire.numerics import of_class, outer_gradient, per_channel


class PixelRelevance(Interpreter):
    """An interpreter whose map is the relevance of the pixels. Its rules are made by ``rules``.

    Attributes:
        pool: side of the pooling window in pixels; as for ``Grad`` if None.
        smoothing: the slope of rectifiers in the attack's view; honest maps never use it.
    """

    pool: int | None
    smoothing: Smoothing

    @abstractmethod
    def rules(self, smoothing: Smoothing | None) -> Propagation:
        """Make the context that the network runs in; ``smoothing`` is the slope of rectifiers, exact if None."""

    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        images = images.detach().clone().requires_grad_()
        return self.map_of(self.relevance(classifier, images, classes))

    def relevance(
        self,
        pixels: Classifier | Attackable,
        images: Tensor,
        classes: Tensor,
        graph: bool = False,
        smoothing: Smoothing | None = None,
    ) -> Tensor:
        """Compute the relevance N x C x H x W of the pixels for ``classes``.

        Args:
            pixels: the network.
            images: N x C x H x W in [0, 1]; they must require a gradient, or depend on a tensor that does.
            classes: int64 N.
            graph: True if the relevance will be differentiated.
            smoothing: the slope of rectifiers; exact if None.
        """
        with torch.enable_grad():
            with pixels.in_eights(images), self.rules(smoothing) as rules:
                logits = pixels.run(rules.follow(images))
            chosen = of_class(logits, classes).sum()
            with rules.propagating():
                (gradient,) = torch.autograd.grad(chosen, images, outer_gradient(chosen, graph), create_graph=graph)
            if pixels.std is not None:
                gradient = gradient * per_channel(pixels.std, gradient.dtype, gradient.device)
            return gradient * pixels.normalise(images)

    def map_of(self, relevance: Tensor) -> Tensor:
        """Compute the maps N x h x w of relevance N x C x H x W."""
        return pooled_map(relevance.sum(1, keepdim=True).clamp_min(0), self.pool)

    def view(self) -> View:
        return RelevanceView(self)


class RelevanceView(View):
    """A view that makes a pass of its own, whose backward pass follows the rules."""

    in_place = False
    steps_alike = True

    def __init__(self, interpreter: PixelRelevance) -> None:
        self.interpreter = interpreter

    def read(
        self, prepared: Attackable, recorded: Recorded, images: Tensor, classes: Tensor, state: State, graph: bool
    ) -> tuple[Tensor, State]:
        relevance = self.interpreter.relevance(prepared, images, classes, graph, self.interpreter.smoothing)
        prepared.backwards += 1 + graph
        return self.interpreter.map_of(relevance), state


@dataclass(frozen=True)
class LRP(PixelRelevance):
    """Layer-wise relevance propagation (Bach et al. 2015).

    The logit of the class is distributed backwards, layer by layer, to the pixels; a rule sets the share of each input
    of a layer. The map is the positive part of the sum over channels, average-pooled, min-max per image.

    Smooth activations (GELU, SiLU, Mish, hard swish) pass relevance unchanged, as rectifiers do. What a layer, group or
    instance norm, or ``normalize``, divides by counts as a constant (Achtibat et al. 2024). Of a product of two
    activations each receives half; but if one is a gate, such as the sigmoid of squeeze and excitation, the other
    receives all (Arras et al. 2017). Gates are sigmoids, hard sigmoids, softmax, and 1 + tanh or 1 + erf, as GELU is
    written by hand. Of a quotient of two activations, what is divided receives all; powers and reciprocals hand all to
    their base. Exponentials, other functions of one value (tanh, ELU) and a batch norm that does not follow a
    convolution have no rule, and pass on value x gradient, which does not add up. Networks with attention are refused:
    ``AttnLRP`` has rules for them. The relevance of a pixel is that of its normalised value.

    Args:
        rule: the rule of convolutions, ``epsilon`` or ``z+``; see ``Propagation``. The linear layers at the end always
            follow ``epsilon``, as is usual.
        epsilon: the stabiliser of the epsilon rule, above 0.
        pool: side of the pooling window in pixels; as for ``Grad`` if None.
        smoothing: the slope of rectifiers in the attack's view; honest maps never use it.
    """

    name: ClassVar[str] = "lrp"
    family: ClassVar[str] = "grad"

    rule: Rule = "epsilon"
    epsilon: float = 1e-2
    pool: int | None = None
    smoothing: Smoothing = field(default_factory=Smoothing)

    def __post_init__(self) -> None:
        check_known("rule", self.rule, ("epsilon", "z+"))
        if not self.epsilon > 0:
            raise InputError(f"epsilon is {self.epsilon}; expected a positive number.")

    @classmethod
    def from_argument(cls, argument: str) -> LRP:
        """Make LRP with a rule, ``epsilon`` or ``z+``."""
        return cls(cast(Rule, argument))  # the constructor refuses other texts

    def rules(self, smoothing: Smoothing | None) -> Propagation:
        return Propagation(self.rule, self.epsilon, smoothing)
