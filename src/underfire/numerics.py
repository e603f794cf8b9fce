"""Precision and memory format of networks: names, tolerances, conversions, and the attention kernel."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from underfire.arguments import check_choice
from underfire.errors import UnderfireWarning

Network = TypeVar("Network", bound=nn.Module)

PRECISIONS: Mapping[str, torch.dtype] = MappingProxyType(
    {"float32": torch.float32, "bf16": torch.bfloat16, "float64": torch.float64}
)
"""The precisions that an attack can run in, by the name that users give."""

_TOLERANCES = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.1}


def dtype_of(precision: str) -> torch.dtype:
    """Look up the dtype of a precision. Raises InputError if the name is unknown."""
    check_choice("precision", precision, PRECISIONS)
    return PRECISIONS[precision]


def precision_of(dtype: torch.dtype) -> str:
    """Look up the name of a dtype's precision; ``float32`` for a dtype that no precision stands for."""
    return next((name for name, known in PRECISIONS.items() if known is dtype), "float32")


def weights_dtype(network: nn.Module) -> torch.dtype | None:
    """The dtype of the network's first parameter; None if it has no parameters."""
    return next((weight.dtype for weight in network.parameters()), None)


def tolerance(dtype: torch.dtype | None) -> float:
    """The accepted error of logits from weights of ``dtype``, relative to the largest logit (float32 if None)."""
    return _TOLERANCES.get(dtype or torch.float32, 1e-4)


def full_precision(values: Tensor) -> Tensor:
    """Convert half-precision values to float32; leave float32 and float64 as they are."""
    return values.float() if values.dtype in (torch.bfloat16, torch.float16) else values


def channels_last(images: Tensor) -> Tensor:
    """Convert images N x C x H x W to the memory format in which convolutions run fastest."""
    return images.contiguous(memory_format=torch.channels_last)


def to_channels_last(
    network: Network, *, device: str | torch.device | None = None, dtype: torch.dtype | None = None
) -> Network:
    """Convert a network in place to the ``channels_last`` memory format, and to ``device`` and ``dtype`` if given."""
    options: dict[str, Any] = {"memory_format": torch.channels_last}  # torch's type hints of Module.to lack it
    return network.to(device=device, dtype=dtype, **options)


def math_attention() -> AbstractContextManager[None]:
    """Context in which attention layers use torch's plain kernel: the fused kernels have no second derivative."""
    return sdpa_kernel(SDPBackend.MATH)


def warn_if_slow(dtype: torch.dtype, device: torch.device) -> None:
    """Warn if ``device`` is a CPU without bfloat16 instructions and ``dtype`` is bfloat16."""
    if dtype is torch.bfloat16 and device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        warnings.warn(
            "this processor has no bfloat16 instructions: precision='bf16' will be several times slower than "
            "'float32' here.",
            UnderfireWarning,
            stacklevel=5,
        )
