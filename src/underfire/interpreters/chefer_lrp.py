"""Chefer's first explanation of transformers: relevance of attention, weighted by its gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.classifiers import Attackable, Classifier, Recorded, by_head
from underfire.interpreters.attention import attended_of, map_of_rows
from underfire.interpreters.base import Interpreter, State, View
from underfire.interpreters.chefer import flow_of
from underfire.interpreters.convolution import frozen_conv2d
from underfire.interpreters.propagation import TINY, Propagation
from underfire.interpreters.smoothing import Smoothing
from underfire.interpreters.transformer_rules import TransformerPropagation
from underfire.numerics import full_precision, of_class

SMALL = 1e-9
"""Added to the size of denominators, so that none is zero."""


@dataclass(frozen=True)
class CheferLRP(Interpreter):
    """Transformer attribution (Chefer et al. 2021a, section 3.2).

    Relevance that starts as 1 at the class's logit is propagated to the matrices of attention; see ``CheferRules`` for
    the rules. With the relevance R_l of the attention A_l of block l, and the gradient G_l of the class's logit in it,
    C is the product over blocks of I + mean over heads of ReLU(G_l * R_l), the first block on the right. The map is the
    row of the class token in C, min-max per image.

    Args:
        smoothing: the slope of rectifiers in the attack's view; honest maps never use it. GELU and softmax have second
            derivatives, and are not smoothed.
    """

    name: ClassVar[str] = "chefer-lrp"
    family: ClassVar[str] = "attention"

    smoothing: Smoothing = field(default_factory=Smoothing)

    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        return self.explain(classifier, images.detach().clone().requires_grad_(), classes)

    def explain(
        self,
        network: Classifier | Attackable,
        images: Tensor,
        classes: Tensor,
        graph: bool = False,
        smoothing: Smoothing | None = None,
    ) -> Tensor:
        """Compute the maps N x h x w.

        Args:
            network: the network.
            images: N x C x H x W in [0, 1]; they must require a gradient, or depend on a tensor that does.
            classes: int64 N.
            graph: True if the maps will be differentiated.
            smoothing: the slope of rectifiers; exact if None.

        Raises:
            InterpreterError: the network has no attention between all tokens of an image.
        """
        with torch.enable_grad():
            rules = CheferRules(smoothing)
            recorded = network.record(rules.follow(images), rules, attention=True)
            return self._map_of(recorded, classes, rules, graph)

    def _map_of(self, recorded: Recorded, classes: Tensor, rules: Propagation, graph: bool) -> Tensor:
        attended, matrices = attended_of(recorded, "CheferLRP")
        logits = of_class(recorded.logits, classes)
        slopes = _gradients(logits, attended.matrices, None, graph)
        with rules.propagating():  # relevance is value x gradient: it starts as logit x 1 / logit = 1
            spread = _gradients(logits, attended.matrices, 1 / away_from_zero(logits), graph)
        relevances = []
        for matrix, slope, factor in zip(matrices, slopes, spread, strict=True):
            parts = [by_head(full_precision(part), len(matrix)) for part in (slope, factor)]
            assert parts[0] is not None
            assert parts[1] is not None
            relevances.append(parts[0] * (matrix * parts[1]))
        return map_of_rows(attended, flow_of(relevances))

    def view(self) -> View:
        return _CheferView(self)


def _gradients(logits: Tensor, matrices: tuple[Tensor, ...], outer: Tensor | None, graph: bool) -> tuple[Tensor, ...]:
    """Compute the gradients of logits N in the matrices; ``outer`` are those of a scalar in the logits, 1 if None."""
    outer = torch.ones_like(logits) if outer is None else outer
    return torch.autograd.grad(logits, matrices, outer, create_graph=graph, retain_graph=True, materialize_grads=True)


class _CheferView(View):
    """A view that makes a pass of its own, whose second backward pass follows the rules."""

    in_place = False

    def __init__(self, interpreter: CheferLRP) -> None:
        self.interpreter = interpreter

    def read(
        self, prepared: Attackable, recorded: Recorded, images: Tensor, classes: Tensor, state: State, graph: bool
    ) -> tuple[Tensor, State]:
        maps = self.interpreter.explain(prepared, images, classes, graph, self.interpreter.smoothing)
        prepared.backwards += 2 + graph
        return maps, state


def away_from_zero(values: Tensor) -> Tensor:
    """Move values away from zero by a small amount, so that they can be divided by."""
    return values + torch.where(values.detach() < 0, -SMALL, SMALL)


class _Sum(torch.autograd.Function):
    """The sum of ``first`` and ``second``, with two backward passes.

    Usually the gradient goes to ``total``. While relevance is propagated, each of the two receives relevance in
    proportion to its values. Their totals a and b over an image may be large, with opposite signs; they are scaled to
    (a + b) |a| / (|a| + |b|) and (a + b) |b| / (|a| + |b|) (Chefer et al. 2021a, section 3.1).
    """

    @staticmethod
    def forward(ctx: Any, total: Tensor, first: Tensor, second: Tensor, rules: Propagation) -> Tensor:
        ctx.save_for_backward(first, second)
        ctx.rules = rules
        return total.clone()  # because the network may change it in place

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        if not ctx.rules.propagates:
            return grad, None, None, None
        axes = tuple(range(1, grad.ndim))
        totals = [(part * grad).sum(axes, keepdim=True) for part in ctx.saved_tensors]
        shares = (totals[0] + totals[1]) / (totals[0].abs() + totals[1].abs() + SMALL)
        return None, grad * shares * totals[0].sign(), grad * shares * totals[1].sign(), None


class CheferRules(TransformerPropagation):
    """A context in which backward passes that propagate relevance follow Chefer et al. (2021a, section 3.1).

    - Linear layers: R_i = sum_j (x_i w_ij)^+ R_j / sum_i' (x_i' w_i'j)^+, without the bias.
    - Products of two tensors that depend on the image: half of the relevance goes to each. That is what the
      paper's normalisation comes to, because the relevance of both has the same total before it.
    - Sums of two: in proportion to the values, and normalised; see ``_Sum``.
    - Layer norm, GELU and softmax: relevance passes unchanged, as in the authors' program. The paper says nothing of
      them. Of other norms the authors' program says nothing either: what they divide by counts as a constant.

    Relevance is not propagated to convolutions: the matrices of attention come after them.

    Args:
        smoothing: the slope of rectifiers, for the attack's view; exact if None.
    """

    gates = ()

    def __init__(self, smoothing: Smoothing | None) -> None:
        super().__init__("z+", SMALL, smoothing)

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        # Of both signs, whatever the input: to look for values below 0, the program would have to wait for a GPU.
        positive = F.linear(input.clamp_min(0), weight.clamp_min(0)) + F.linear(input.clamp_max(0), weight.clamp_max(0))
        return self._apply(F.linear(input, weight, bias), positive + TINY)

    def _convolution(
        self, input: Tensor, weight: Tensor, bias: Tensor | None = None, *how: Any, **named: Any
    ) -> Tensor:
        return frozen_conv2d(input, weight, bias, *how, **named)

    def norm(self, func: Callable[..., Any], input: Tensor, shape: Any, *args: Any, **kwargs: Any) -> Tensor:
        """Compute a layer norm or an RMS norm; relevance passes unchanged."""
        output = func(input, shape, *args, **kwargs)
        return self.scaled(output, input, output / away_from_zero(input))

    def softmax(self, output: Tensor, scores: Tensor) -> Tensor:
        """Return the softmax; relevance passes unchanged."""
        return self.scaled(output, scores, output / away_from_zero(scores))

    def sum(self, output: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Return the sum; each of the two receives its share of relevance."""
        result: Tensor = _Sum.apply(output, first, second, self)
        return result
