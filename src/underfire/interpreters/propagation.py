"""The rules of layer-wise relevance propagation: they replace the backward passes of layers with weights.

If relevance is written as value x gradient, most layers (rectifiers, pooling, sums) pass it on exactly as ordinary
backpropagation does. Layers with weights, smooth activations and norms need a rule: another backward pass. It must act
while relevance is propagated, but not while the finished map is differentiated in the image. Both go through the same
graph, so a switch (``Propagation.propagates``) tells them apart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.classifiers import SOFTMAXES, is_attention
from underfire.errors import InterpreterError
from underfire.interpreters.convolution import frozen_conv2d
from underfire.interpreters.gates import GATES
from underfire.interpreters.norm_rules import PARTS
from underfire.interpreters.products import (
    MATRIX_PRODUCTS,
    MULTIPLICATIONS,
    SIGMOIDS,
    SUMS_WITH_PRODUCT,
    followed_among,
    glu,
    is_followed,
    is_gate,
    is_hard_sigmoid,
    is_shift,
    is_written_gate,
    mark,
    positional,
    source_of,
    stays_gate,
    written,
)
from underfire.interpreters.quotients import handed, is_divisor, receiver
from underfire.interpreters.smoothing import Smoothing, SmoothRectifiers, hardsigmoid, hardswish, replaced

Rule = Literal["epsilon", "z+"]
TINY = 1e-6
"""The stabiliser of the z+ rule's denominator."""

Layer = Callable[[Tensor, Tensor, Tensor | None], Tensor]


class _Rule(torch.autograd.Function):
    """The identity on ``output``, with two backward passes.

    Usually the gradient g goes to ``output``. While relevance is propagated, g * output / basis goes to ``basis``.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, basis: Tensor, rules: Propagation) -> Tensor:
        ctx.save_for_backward(output, basis)
        ctx.rules = rules
        return output.clone()  # because a rectifier may change it in place

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        if not ctx.rules.propagates:
            return grad, None, None
        output, basis = ctx.saved_tensors
        return None, grad * output / basis, None


class _Scaled(torch.autograd.Function):
    """The identity on ``output``, with two backward passes.

    Usually the gradient g goes to ``output``. While relevance is propagated, g * factor goes to ``source``.
    """

    @staticmethod
    def forward(ctx: Any, output: Tensor, source: Tensor, factor: Tensor, rules: Propagation) -> Tensor:
        ctx.save_for_backward(factor)
        ctx.rules = rules
        return output.clone()  # because the network may change it in place

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        if not ctx.rules.propagates:
            return grad, None, None, None
        (factor,) = ctx.saved_tensors
        return None, grad * factor, None, None


class Propagation(SmoothRectifiers):
    """A context in which convolutions and linear layers follow a rule in backward passes that propagate relevance.

    Forward values do not change. A batch norm right after a convolution is folded into it, because the rules treat the
    two as one layer. Of products of two tensors that depend on the image, both factors receive half of the relevance
    (Achtibat et al. 2024, propositions 3.2 and 3.3); but a gate receives none (Arras et al. 2017).

    Attributes:
        gates: functions whose output counts as a gate.

    Args:
        rule: the rule of convolutions. ``epsilon``: R_i = x_i sum_j w_ij R_j / (z_j + epsilon sign z_j) (Bach et al.
            2015, eq. 58). ``z+``: R_i = sum_j (x_i w_ij)^+ R_j / sum_i' (x_i' w_i'j)^+ (eq. 60 with alpha = 1 and
            beta = 0), without the bias. Linear layers always follow ``epsilon``.
        epsilon: the stabiliser; it absorbs relevance if contributions cancel.
        smoothing: the slope of rectifiers, for the attack's view; exact if None.
    """

    gates: tuple[Callable[..., Any], ...] = SIGMOIDS + SOFTMAXES

    def __init__(self, rule: Rule, epsilon: float, smoothing: Smoothing | None = None) -> None:
        super().__init__(smoothing)
        self.rule, self.epsilon = rule, epsilon
        self.propagates = False
        self._last: tuple[Layer, Tensor, Tensor, Tensor | None] | None = None
        self._unchanged: tuple[tuple[Tensor, int], ...] = ()  # the last layer's output and input, with their versions

    def __exit__(self, *raised: Any) -> None:
        self._last, self._unchanged = None, ()  # their graph holds this object: neither would ever be freed
        super().__exit__(*raised)  # type: ignore[no-untyped-call]  # untyped in torch

    def follow(self, images: Tensor) -> Tensor:
        """Return ``images``, marked as what the other tensors are to depend on; the network is to be run on these."""
        followed = images.view_as(images)
        mark(followed)
        return followed

    @contextmanager
    def propagating(self) -> Iterator[None]:
        """Let backward passes inside the context propagate relevance."""
        self.propagates = True
        try:
            yield
        finally:
            self.propagates = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        args, kwargs = positional(func, args, kwargs or {})
        followed = followed_among((*args, *kwargs.values()))
        gate = func in self.gates or stays_gate(func, followed) or is_hard_sigmoid(func, followed)
        gate = gate or is_written_gate(func, args, followed) or (bool(followed) and is_divisor(func, args, kwargs))
        output = self._by_rule(func, types, args, kwargs, followed)
        if followed and not self._is_constant(func, args, kwargs):
            mark(output, gate, is_shift(func, args), source_of(func, followed))
        return output

    def _is_constant(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Return True if what this call returns counts as a constant of the network."""
        return False

    def _by_rule(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        followed: list[Tensor],
    ) -> Any:
        """Call ``func`` by its rule; ``followed`` are those of its arguments that depend on the image."""
        if is_attention(func, args, kwargs):
            raise InterpreterError(
                "LRP has no rule for attention, and this network computes attention. Use interpreters.AttnLRP() "
                "('attnlrp'), which has the rules for transformers."
            )
        if func is torch.conv2d:
            return self._convolution(*args, **kwargs)
        if func is F.linear:
            return self._linear(*args, **kwargs)
        if func is F.batch_norm:
            folded = self._folded(*args, **kwargs)
            if folded is not None:
                return folded
        if func in PARTS:
            return self.divided(func, *args, **kwargs)
        if func in GATES:
            return self.gated(func, *args, **kwargs)
        if followed and (source := receiver(func, args, kwargs)) is not None:
            return handed(func, source, args, kwargs, self.scaled)
        if func is F.glu and followed:
            with self:  # so that the rules see its product
                return glu(*args, **kwargs)
        if len(followed) == 2 and func in MATRIX_PRODUCTS:
            return self._halved(func(*args, **kwargs))
        if len(followed) == 2 and func in MULTIPLICATIONS:
            return written(func, self._multiplied(*map(is_gate, followed)), *followed)
        if func in (torch.addcmul, Tensor.addcmul) and len(args) > 2 and is_followed(args[1]) and is_followed(args[2]):
            product = self._multiplied(is_gate(args[1]), is_gate(args[2]))(args[1], args[2])
            return torch.add(args[0], product, alpha=kwargs.get("value", 1))
        if func in SUMS_WITH_PRODUCT and len(args) > 2 and is_followed(args[1]) and is_followed(args[2]):
            return func(args[0], self._halved(args[1]), self._halved(args[2]), *args[3:], **kwargs)
        return super().__torch_function__(func, types, args, kwargs)

    def _halved(self, values: Tensor) -> Tensor:
        """Return a product, or each of its factors, so that the factors receive half of the relevance each."""
        return self.scaled(values, values, values.new_full((), 0.5))

    def _multiplied(self, first_gate: bool, second_gate: bool) -> Callable[[Tensor, Tensor], Tensor]:
        """Make the product of elements for two factors, by which of them are gates."""

        def form(first: Tensor, second: Tensor) -> Tensor:
            product = first * second
            if first_gate is second_gate:
                return self._halved(product)
            return self.scaled(product, *((second, first) if first_gate else (first, second)))

        return form

    def scaled(self, output: Tensor, source: Tensor, factor: Tensor) -> Tensor:
        """Return ``output``, whose gradient goes to ``source`` times ``factor`` while relevance is propagated."""
        result: Tensor = _Scaled.apply(output, source, factor, self)
        return result

    def divided(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """Compute a norm. What it divides by counts as a constant while relevance is propagated."""
        return self.scaled(func(*args, **kwargs), *PARTS[func](*args, **kwargs))

    def gated(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """Compute an activation x * gate(x), in place if it works so. Relevance passes it unchanged."""

        def form(input: Tensor, **how: Any) -> Tensor:
            if func is F.hardswish and self.smoothing is not None:
                return self.scaled(hardswish(input, self.smoothing), input, hardsigmoid(input, self.smoothing))
            return self.scaled(func(input, **how), input, GATES[func](input, **how))

        return replaced((form, ("input", "inplace"), False), args, kwargs)

    def _convolution(
        self, input: Tensor, weight: Tensor, bias: Tensor | None = None, *how: Any, **named: Any
    ) -> Tensor:
        names = ("stride", "padding", "dilation", "groups")
        layer = partial(frozen_conv2d, **(dict(zip(names, how, strict=False)) | named))
        return self._ruled(layer, input, weight, bias)

    def _linear(self, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        output = F.linear(input, weight, bias)
        return self._apply(output, self._away_from_zero(output))

    def _ruled(self, layer: Layer, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        output = layer(input, weight, bias)
        result = self._apply(output, self._basis(layer, input, weight, bias, output))
        self._last = (layer, input, weight, bias)
        self._unchanged = tuple((value, value._version) for value in (result, input))
        return result

    def _basis(self, layer: Layer, input: Tensor, weight: Tensor, bias: Tensor | None, output: Tensor) -> Tensor:
        """Compute what a convolution's relevance is divided by, as a part of the graph."""
        return self._away_from_zero(output) if self.rule == "epsilon" else positive(layer, input, weight) + TINY

    def _away_from_zero(self, output: Tensor) -> Tensor:
        return output + torch.where(output.detach() < 0, -self.epsilon, self.epsilon)

    def _apply(self, output: Tensor, basis: Tensor) -> Tensor:
        result: Tensor = _Rule.apply(output, basis, self)
        return result

    def _folded(
        self,
        input: Tensor,
        running_mean: Tensor | None,
        running_var: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> Tensor | None:
        """Run the preceding convolution and this batch norm as one layer; None if no convolution precedes.

        After a change in place, such as that of a rectifier or a sum, another layer lies between the two.
        """
        if self._last is None or self._unchanged[0][0] is not input:
            return None
        if training or running_mean is None or running_var is None:
            return None
        if any(value._version != version for value, version in self._unchanged):
            return None
        layer, before, kernel, offset = self._last
        scale = (running_var + eps).rsqrt() * (1.0 if weight is None else weight)
        shift = (0.0 if offset is None else offset) - running_mean
        shift = shift * scale + (0.0 if bias is None else bias)
        return self._ruled(layer, before, kernel * scale.view(-1, 1, 1, 1), shift)


def positive(layer: Layer, input: Tensor, weight: Tensor) -> Tensor:
    """Compute for each output the sum of all positive products of an input and its weight."""
    positive = layer(input.clamp_min(0), weight.clamp_min(0), None)
    if bool((input < 0).any()):  # not the case after a rectifier
        positive = positive + layer(input.clamp_max(0), weight.clamp_max(0), None)
    return positive
