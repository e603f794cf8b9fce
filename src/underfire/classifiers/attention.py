"""The attention matrices of a network, recorded while it runs, however its attention is written.

Fused kernels never hold the matrix A = softmax(Q K^T / sqrt(d)). So attention is computed by its definition (Vaswani et
al. 2017, eq. 1) during a recorded pass. Every matrix is a part of the graph: the logits have a gradient in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from underfire.classifiers.tokens import Arrangement
from underfire.errors import InterpreterError

SOFTMAXES = (F.softmax, torch.softmax, torch.Tensor.softmax, torch.special.softmax)
"""The functions that attention written by hand ends in."""

ATTENTIONS = (F.scaled_dot_product_attention, F.multi_head_attention_forward)
"""The functions of torch that compute attention as a whole."""


def is_attention(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return True if this call computes attention, or is the softmax of an attention that is written by hand."""
    if func in ATTENTIONS:
        return True
    if func not in SOFTMAXES:
        return False
    given = args[0] if args else kwargs["input"]
    dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
    return isinstance(given, Tensor) and given.ndim >= 3 and dim in (-1, given.ndim - 1)


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> tuple[Tensor, Tensor]:
    """Compute ``F.scaled_dot_product_attention`` by its definition. There is no dropout in evaluation mode.

    Returns:
        The output, and the matrix of attention that it was computed from.
    """
    if enable_gqa:
        groups = query.shape[-3] // key.shape[-3]
        key, value = key.repeat_interleave(groups, -3), value.repeat_interleave(groups, -3)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    scores = (query * factor) @ key.transpose(-2, -1)
    if is_causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~seen, -torch.inf)
    if attn_mask is not None:
        masked = attn_mask.dtype == torch.bool
        scores = scores.masked_fill(~attn_mask, -torch.inf) if masked else scores + attn_mask
    matrix = scores.softmax(-1)
    return matrix @ value, matrix


def multi_head(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Compute ``F.multi_head_attention_forward`` by its definition, without dropout.

    Args:
        query, key, value: tokens L x N x C.
        attn_mask, key_padding_mask, bias_k, bias_v, static_k, static_v: None, see below. All other arguments are those
            of torch's function.

    Returns:
        The output L x N x C, and the matrices of attention N x heads x L x L, or their mean over heads; None if
        ``need_weights`` is False.

    Raises:
        InterpreterError: the call has masks, or keys and values beside the tokens. No image classifier needs them.
    """
    further = (bias_k, bias_v, key_padding_mask, attn_mask, static_k, static_v)
    if any(given is not None for given in further) or add_zero_attn or is_causal or query.ndim != 3:
        raise InterpreterError(
            "a MultiheadAttention of this network has masks, or tokens beside those of the image; expected attention "
            "between all tokens of an image, without masks."
        )
    if use_separate_proj_weight or in_proj_weight is None:
        weights = [q_proj_weight, k_proj_weight, v_proj_weight]
    else:
        weights = list(in_proj_weight.chunk(3))
    biases = [None] * 3 if in_proj_bias is None else list(in_proj_bias.chunk(3))
    parts = []
    for tokens, weight, bias in zip((query, key, value), weights, biases, strict=True):
        assert weight is not None
        heads = F.linear(tokens, weight, bias).unflatten(2, (num_heads, -1))
        parts.append(heads.permute(1, 2, 0, 3))  # N x heads x L x channels of a head
    output, matrix = attend(parts[0], parts[1], parts[2])
    output = F.linear(output.permute(2, 0, 1, 3).flatten(2), out_proj_weight, out_proj_bias)
    if not need_weights:
        return output, None
    return output, matrix.mean(1) if average_attn_weights else matrix


class AttentionTap(TorchFunctionMode):
    """Records the matrices of all attention layers of one forward pass in ``matrices``, first layer first.

    Each is N x heads x L x S, or (N * heads) x L x S where the network computes it so; see ``by_head``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.matrices: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            output, matrix = attend(*args, **kwargs)
            self.matrices.append(matrix)
            return output
        if func is F.multi_head_attention_forward:
            return self._multi_head(args, kwargs)
        output = func(*args, **kwargs)
        if is_attention(func, args, kwargs):
            self.matrices.append(output)
        return output

    def _multi_head(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Tensor, Tensor | None]:
        """Compute ``F.multi_head_attention_forward``, asked for its matrices."""
        wanted = kwargs.get("need_weights", True)
        averaged = kwargs.get("average_attn_weights", True)
        asked = kwargs | {"need_weights": True, "average_attn_weights": False}
        output, weights = F.multi_head_attention_forward(*args, **asked)
        assert weights is not None
        # What is returned is a view of the matrix that the output was computed from, and only that one has a gradient.
        self.matrices.append(weights if weights._base is None else weights._base)
        if not wanted:
            return output, None
        return output, weights.mean(1) if averaged else weights


def by_head(matrix: Tensor, images: int) -> Tensor | None:
    """Arrange a recorded matrix of attention, or its gradient, as N x heads x L x S.

    Args:
        matrix: N x heads x L x S or (N * heads) x L x S.
        images: N.

    Returns:
        The arranged matrix; None if it does not hold one set of tokens per image, as attention in windows does not.
    """
    if matrix.ndim == 4:
        return matrix if len(matrix) == images else None
    return matrix.unflatten(0, (images, -1)) if matrix.ndim == 3 and len(matrix) % images == 0 else None


@dataclass(frozen=True)
class Attended:
    """The attention of one forward pass.

    Args:
        matrices: one per layer, first layer first, as the network computes them; see ``by_head``. They are parts of the
            graph.
        arrangement: the places of the last layer's tokens; None if they have none.
        pooled: True if the head reads the mean of the tokens; False if it reads the first token.
    """

    matrices: tuple[Tensor, ...]
    arrangement: Arrangement | None
    pooled: bool
