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
from torch import Tensor
from torch.overrides import TorchFunctionMode

from underfire.batching import MULTIPLE

_PRODUCTS = (F.linear, torch.mm, Tensor.mm, torch.matmul, Tensor.matmul, Tensor.__matmul__)

_ACTIVE: ContextVar[bool] = ContextVar("active", default=False)


@contextmanager
def in_eights(images: Tensor, convolutions: bool) -> Iterator[None]:
    """Context of a forward pass of ``images``: products of tables with a matrix are computed eight rows at a time.

    The derivatives are, too. Nothing changes on a GPU, for eight images at most, and inside another such context.

    Args:
        images: N x C x H x W.
        convolutions: convolutions of single pixels are computed eight images at a time. A pass takes up to a third
            longer then.
    """
    if images.device.type != "cpu" or len(images) <= MULTIPLE or _ACTIVE.get():
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
        if len(args) < 2 or "out" in kwargs or not self._is_meant(func, args[0], args[1]):
            return func(*args, **kwargs)
        rows, *others = args
        return torch.cat([func(some, *others, **kwargs) for some in rows.split(MULTIPLE)])

    def _is_meant(self, func: Callable[..., Any], rows: Any, weight: Any) -> bool:
        if func in _PRODUCTS:
            return bool(rows.ndim == weight.ndim == 2 and len(rows) == self.count)
        if self.convolutions and func is F.conv2d:
            return bool(rows.ndim == 4 and weight.shape[2:] == (1, 1) and len(rows) == self.count)
        return False
