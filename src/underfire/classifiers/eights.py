"""Products whose rows do not depend on how many there are: on a CPU they are computed in eights.

With few rows, the libraries behind torch take other kernels for a product with a wide matrix than with many, and these
sum in another order: an image in a batch of 8 got other last bits than in a batch of 16, in every network whose head
takes 256 features or more (torch 2.13, x86-64), and in many networks with convolutions of single pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from underfire.batching import MULTIPLE

_PRODUCTS = (F.linear, torch.mm, Tensor.mm, torch.matmul, Tensor.matmul, Tensor.__matmul__)

_ACTIVE: ContextVar[bool] = ContextVar("active", default=False)


@contextmanager
def in_eights(images: Tensor, convolutions: bool) -> Iterator[None]:
    """Context of a forward pass of ``images``: products with one row for each image are computed eight rows at a time.

    The derivatives are, too. Nothing changes on a GPU, for eight images at most, while a network is traced or compiled,
    and inside another such context.

    Args:
        images: N x C x H x W.
        convolutions: convolutions of single pixels are computed eight images at a time. A pass takes up to a third
            longer then.
    """
    few = images.device.type != "cpu" or len(images) <= MULTIPLE
    if few or torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None or _ACTIVE.get():
        yield
        return
    before = _ACTIVE.set(True)
    try:
        with _InEights(len(images), convolutions):
            yield
    finally:
        _ACTIVE.reset(before)


class _InEights(TorchFunctionMode):
    """Divides products with one row for each of ``count`` images. Many more rows round alike anyway."""

    def __init__(self, count: int, convolutions: bool) -> None:
        super().__init__()
        self.count = count
        self.convolutions = convolutions

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        known = func in _PRODUCTS or (self.convolutions and func is F.conv2d)
        if not known or not args or "out" in kwargs or not self._is_meant(func, *args[:2], **kwargs):
            return func(*args, **kwargs)
        rows, *others = args
        return torch.cat([func(some, *others, **kwargs) for some in rows.split(MULTIPLE)])

    def _is_meant(self, func: Callable[..., Any], rows: Tensor, weight: Tensor | None = None, **_: Any) -> bool:
        if weight is None or rows.layout is not torch.strided or isinstance(rows, nn.Parameter) or _watched():
            return False
        if func is F.conv2d:
            return rows.ndim == 4 and weight.shape[2:] == (1, 1) and len(rows) == self.count
        alone = rows.ndim >= 2 and len(rows) == rows.shape[:-1].numel() == self.count
        return alone and weight.ndim == 2


def _watched() -> bool:
    """Return True if something watches what is saved for the backward pass, such as gradient checkpointing.

    It runs parts of the network again in the backward pass, and expects the same operations as here. Versions of torch
    that do not tell, such as 2.6, divide nothing.
    """
    watching = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return watching is None or watching(True) is not None
