"""Rules of relevance propagation for the layers of transformers: attention, layer norm, gated activations and products.

As in ``propagation``, relevance is value x gradient. A rule is a factor: while relevance is propagated, the gradient
that reaches a layer's output goes on to a chosen tensor, times that factor. Attention is computed by its definition, so
that the rules see its products and its softmax, whichever function of torch the network calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.classifiers import ATTENTIONS, attend, is_attention, multi_head
from underfire.interpreters.gates import GATES
from underfire.interpreters.propagation import Propagation

PRODUCTS = (torch.matmul, torch.bmm, torch.Tensor.matmul, torch.Tensor.bmm, torch.Tensor.__matmul__, torch.einsum)
MULTIPLIED_IN_PLACE = (torch.Tensor.__imul__, torch.Tensor.mul_, torch.Tensor.multiply_)
MULTIPLICATIONS = (
    *(torch.mul, torch.multiply, torch.Tensor.mul, torch.Tensor.multiply, torch.Tensor.__mul__, torch.Tensor.__rmul__),
    *MULTIPLIED_IN_PLACE,
)
ADDED_IN_PLACE = (torch.Tensor.__iadd__, torch.Tensor.add_)
SUMS = (torch.add, torch.Tensor.add, torch.Tensor.__add__, torch.Tensor.__radd__, *ADDED_IN_PLACE)
NORMS = (F.layer_norm, F.rms_norm)


_MARK = "_depends_on_image"
"""The attribute that marks tensors. Nobody else reads it."""


def _mark(output: object) -> None:
    """Mark the tensors of an output as dependent on the image."""
    for value in output if isinstance(output, tuple | list) else (output,):
        if isinstance(value, Tensor):
            setattr(value, _MARK, True)


def _followed(values: Iterable[object]) -> list[Tensor]:
    """Return the marked tensors among ``values``, and in the lists among them."""
    flat = [part for value in values for part in (value if isinstance(value, tuple | list) else (value,))]
    return [part for part in flat if isinstance(part, Tensor) and getattr(part, _MARK, False)]


def _written(
    func: Callable[..., Any], form: Callable[[Tensor, Tensor], Tensor], first: Tensor, second: Tensor
) -> Tensor:
    """Compute another form of ``func``; in place if that works so, because others may look there."""
    if func not in MULTIPLIED_IN_PLACE + ADDED_IN_PLACE:
        return form(first, second)
    before = first.clone()
    return first.copy_(form(before, before if second is first else second))


class TransformerPropagation(Propagation):
    """A context that calls one method per kind of layer of a transformer; the methods here change nothing.

    A rule for products needs to know if both factors depend on the image, or if one is a constant of the network. So
    the context marks the tensors that depend on the image; see ``follow``.

    Attributes:
        constant_attention: True if matrices of attention count as constants of the network.
    """

    constant_attention = False

    def follow(self, images: Tensor) -> Tensor:
        """Return ``images``, marked as what the other tensors are to depend on."""
        followed = images.view_as(images)
        _mark(followed)
        return followed

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        followed = _followed((*args, *kwargs.values()))
        if not followed:
            return func(*args, **kwargs)
        if func in ATTENTIONS:
            with self:  # so that the rules see what attention is made of
                return multi_head(*args, **kwargs) if func is ATTENTIONS[1] else attend(*args, **kwargs)[0]
        output = self._follow_rule(func, types, args, kwargs, followed)
        if not (self.constant_attention and is_attention(func, args, kwargs)):
            _mark(output)
        return output

    def _follow_rule(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        followed: list[Tensor],
    ) -> Any:
        """Call ``func`` by its rule; ``followed`` are those of its arguments that depend on the image."""
        if func in NORMS:
            return self.norm(func, *args, **kwargs)
        if func in GATES:
            return self.gated(func, *args, **kwargs)
        if is_attention(func, args, kwargs):
            return self.softmax(func(*args, **kwargs), followed[0])
        if len(followed) == 2:
            if func in PRODUCTS:
                return self._halved(func(*args, **kwargs))
            if func in MULTIPLICATIONS:
                return _written(func, lambda first, second: self._halved(first * second), *followed)
            if func in SUMS and followed[0].shape == followed[1].shape and not kwargs:
                return _written(func, lambda first, second: self.sum(first + second, first, second), *followed)
        return super().__torch_function__(func, types, args, kwargs)

    def _halved(self, product: Tensor) -> Tensor:
        return self.scaled(product, product, product.new_full((), 0.5))

    def norm(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """Compute a layer norm or an RMS norm."""
        return self.divided(func, *args, **kwargs)

    def softmax(self, output: Tensor, scores: Tensor) -> Tensor:
        """Return the softmax of the ``scores`` of an attention layer."""
        return output

    def sum(self, output: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Return the sum of two tensors that both depend on the image."""
        return output
