"""Precision of networks: its names, tolerances and conversions, and the arithmetic of verdicts and of attacks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from underfire.arguments import check_choice
from underfire.errors import warn
from underfire.flags import Arithmetic, deterministic_kernels, float32_arithmetic, without_autocast

Network = TypeVar("Network", bound=nn.Module)

PRECISIONS: Mapping[str, torch.dtype] = MappingProxyType(
    {"float32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "float64": torch.float64}
)
"""The dtypes of the precisions that an attack can run in, by the name that users give.

``float32`` is IEEE arithmetic; ``tf32`` rounds what convolutions and matrix products multiply to 10 bits of mantissa,
on GPUs that can do so.
"""

_TOLERANCES = {torch.float64: 1e-4, torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.1}


def dtype_of(precision: str) -> torch.dtype:
    """Look up the dtype of a precision. Raises InputError if the name is unknown."""
    check_choice("precision", precision, PRECISIONS)
    return PRECISIONS[precision]


@contextmanager
def judging(device: torch.device) -> Iterator[None]:
    """Context for all that is judged or compared: IEEE float32 and deterministic kernels, whatever the user's flags.

    A ``torch.autocast`` around it does not count. The flags are as they were afterwards, also after an error.
    """
    with without_autocast(), float32_arithmetic("ieee"), deterministic_kernels(device):
        yield


@contextmanager
def attacking(precision: str, device: torch.device) -> Iterator[None]:
    """Context for the steps of an attack: the arithmetic of ``precision``, and deterministic kernels.

    A ``torch.autocast`` around it does not count.
    """
    arithmetic: Arithmetic = "tf32" if precision == "tf32" else "ieee"
    with without_autocast(), float32_arithmetic(arithmetic), deterministic_kernels(device):
        yield


def scale(logits: Tensor) -> Tensor:
    """The scale of differences between logits that matter: their spread around the mean of each image's.

    It is at least a thousandth of the largest logit, because rounding errors are relative to that, and at least 1e-6.

    Args:
        logits: N x K.
    """
    spread = (logits - logits.mean(1, keepdim=True)).abs().max()
    return torch.maximum(spread, 1e-3 * logits.abs().max()).clamp_min(1e-6)


def precision_of(dtype: torch.dtype) -> str:
    """Look up the name of a dtype's precision; ``float32`` for a dtype that no precision stands for."""
    return next((name for name, known in PRECISIONS.items() if known is dtype), "float32")


def is_class(classes: Tensor, count: int) -> Tensor:
    """Mark each image's class among ``count`` classes, bool N x K.

    Unlike ``one_hot`` it does not look at the values, for which the program would have to wait for a GPU.
    """
    return classes.unsqueeze(1) == torch.arange(count, device=classes.device)


def of_class(values: Tensor, classes: Tensor) -> Tensor:
    """Pick the value of each image's class, N, from values N x K."""
    if values.device.type != "cpu" and values.requires_grad:
        return _of_class_by_mask(values, classes)
    return values.gather(1, classes.unsqueeze(1)).squeeze(1)


def _of_class_by_mask(values: Tensor, classes: Tensor) -> Tensor:
    """Pick the value of each image's class without an index, with the same bits.

    On a GPU, the deterministic form of the derivative of an index sorts, and the program may have to wait for that. The
    derivative of a mask is a mask.
    """
    return values.masked_fill(~is_class(classes, values.shape[1]), 0.0).sum(1)


@lru_cache(maxsize=64)
def per_channel(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return one value per channel, 1 x C x 1 x 1. The tensor is copied to the device once, and must not be changed."""
    with torch.inference_mode(False):  # it may be used where gradients are computed
        return torch.tensor(values, dtype=dtype, device=device).view(1, -1, 1, 1)


def weights_dtype(network: nn.Module) -> torch.dtype | None:
    """The dtype of the network's first parameter; None if it has no parameters."""
    return next((weight.dtype for weight in network.parameters()), None)


def tolerance(dtype: torch.dtype | None) -> float:
    """The accepted error of logits from weights of ``dtype``, relative to their ``scale`` (float32 if None)."""
    return _TOLERANCES.get(dtype or torch.float32, 1e-4)


def outer_gradient(total: Tensor, graph: bool) -> Tensor:
    """Make the gradient 1 that differentiating ``total`` begins with, as a part of the graph if ``graph`` is True.

    As a constant, it would hide functions that cannot be differentiated twice (``once_differentiable``): if what
    reaches their backward pass needs no gradient, torch takes its result for a constant, without a word.
    """
    return torch.ones_like(total).requires_grad_(graph)


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
    return to_format(network.to(device=device, dtype=dtype), torch.channels_last)


def to_format(network: Network, memory_format: torch.memory_format) -> Network:
    """Convert the weights of a network in place to a memory format."""
    options: dict[str, Any] = {"memory_format": memory_format}  # torch's type hints of Module.to lack it
    return network.to(**options)


def math_attention(twice: bool = True) -> AbstractContextManager[None]:
    """Context in which attention layers use torch's plain kernel: the fused kernels have no second derivative.

    Args:
        twice: False if no second derivative is needed; nothing changes then.
    """
    return sdpa_kernel(SDPBackend.MATH) if twice else nullcontext()


def warn_if_slow(precision: str, device: torch.device) -> None:
    """Warn if ``precision`` brings nothing on ``device``: TF32 on a CPU, bfloat16 on a CPU without its instructions."""
    if precision == "tf32" and device.type != "cuda":
        warn("precision='tf32' is for GPUs: here it is the same as 'float32'.")
    if precision == "bf16" and device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        warn(
            "this processor has no bfloat16 instructions: precision='bf16' will be several times slower than "
            "'float32' here."
        )
