"""Batch norms of vectors between a network's pooling and its head, as affine functions."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from underfire.numerics import full_precision


@dataclass(frozen=True)
class AffineNorm:
    """A batch norm of vectors in evaluation mode, as x -> ``scale`` x + ``shift``; both have C values."""

    scale: Tensor
    shift: Tensor

    @classmethod
    def of(
        cls,
        mean: Tensor | None,
        variance: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> AffineNorm | None:
        """Convert the arguments of ``F.batch_norm`` after its input; None if it takes the statistics of the batch."""
        if training or mean is None or variance is None:
            return None
        scale = (full_precision(variance) + eps).rsqrt()
        scale = scale if weight is None else scale * full_precision(weight)
        shift = -full_precision(mean) * scale
        return cls(scale, shift if bias is None else shift + full_precision(bias))
