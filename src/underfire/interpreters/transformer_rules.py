"""Rules of relevance propagation for the layers of transformers: attention, layer norm, gated activations and products.

As in ``propagation``, relevance is value x gradient. A rule is a factor: while relevance is propagated, the gradient
that reaches a layer's output goes on to a chosen tensor, times that factor. Attention is computed by its definition, so
that the rules see its products and its softmax, whichever function of torch the network calls.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.classifiers import ATTENTIONS, attend, is_attention, multi_head
from underfire.interpreters.products import ADDED_IN_PLACE, written
from underfire.interpreters.propagation import Propagation

SUMS = (torch.add, torch.Tensor.add, torch.Tensor.__add__, torch.Tensor.__radd__, *ADDED_IN_PLACE)
NORMS = (F.layer_norm, F.rms_norm)


class TransformerPropagation(Propagation):
    """A context that calls one method per kind of layer of a transformer; the methods here change nothing.

    Attributes:
        constant_attention: True if matrices of attention count as constants of the network.
    """

    constant_attention = False

    def _is_constant(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        return self.constant_attention and is_attention(func, args, kwargs)

    def _by_rule(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        followed: list[Tensor],
    ) -> Any:
        if not followed:
            return func(*args, **kwargs)
        if func in ATTENTIONS:
            with self:  # so that the rules see what attention is made of
                return multi_head(*args, **kwargs) if func is ATTENTIONS[1] else attend(*args, **kwargs)[0]
        if func in NORMS:
            return self.norm(func, *args, **kwargs)
        if is_attention(func, args, kwargs):
            return self.softmax(func(*args, **kwargs), followed[0])
        if len(followed) == 2 and func in SUMS and followed[0].shape == followed[1].shape and not kwargs:
            return written(func, lambda first, second: self.sum(first + second, first, second), *followed)
        return super()._by_rule(func, types, args, kwargs, followed)

    def norm(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Tensor:
        """Compute a layer norm or an RMS norm."""
        return self.divided(func, *args, **kwargs)

    def softmax(self, output: Tensor, scores: Tensor) -> Tensor:
        """Return the softmax of the ``scores`` of an attention layer."""
        return output

    def sum(self, output: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Return the sum of two tensors that both depend on the image."""
        return output
