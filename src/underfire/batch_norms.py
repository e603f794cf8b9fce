"""Batch norms of several processes that see one batch: statistics over all parts of it, as one process has them.

``torch.nn.SyncBatchNorm`` does the same on GPUs alone, once differentiable, and in the place of the network's modules.
Here functions are replaced while a step is computed, so that the network stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from underfire.numerics import full_precision
from underfire.processes import Group


class _Sum(torch.autograd.Function):
    """The sum over processes, differentiable any number of times.

    The loss is the sum of the losses of all processes, so that the gradient is the sum of their gradients.
    """

    @staticmethod
    def forward(context: Any, values: Tensor, group: Group) -> Tensor:
        context.group = group
        return group.sum(values)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        total: Tensor = _Sum.apply(gradients[0], context.group)
        return total, None


def shared_batch_norm(
    group: Group,
    images: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    momentum: float,
    eps: float,
) -> Tensor:
    """Normalise by the mean and variance over the parts of all processes, and update the running statistics.

    All processes call it equally often, in the same order. Arguments as in ``torch.nn.functional.batch_norm``.

    Args:
        group: the processes.
        images: the part of this process, N x C x ...

    Returns:
        N x C x ..., differentiable twice.

    Raises:
        ProcessLostError: another process has ended.
    """
    values = full_precision(images)
    over = [axis for axis in range(values.ndim) if axis != 1]
    own_variance, own_mean = torch.var_mean(values, over, correction=0)
    own_count = torch.full_like(own_mean[:1], values.numel() // values.shape[1])
    total = _Sum.apply(torch.cat([own_count, own_count * own_mean]), group)
    count, mean = total[:1].detach(), total[1:] / total[:1]
    spread = own_variance + (own_mean - mean).square()
    variance = _Sum.apply(own_count * spread, group) / count
    with torch.no_grad():
        running_mean.lerp_(mean.to(running_mean), momentum)
        unbiased = variance * count / (count - 1).clamp(min=1)
        running_var.lerp_(unbiased.to(running_var), momentum)
    factor = (variance + eps).rsqrt() if weight is None else weight * (variance + eps).rsqrt()
    offset = -mean * factor if bias is None else bias - mean * factor
    shape = [1, -1] + [1] * (values.ndim - 2)
    normalised: Tensor = values * factor.view(shape) + offset.view(shape)
    return normalised.to(images.dtype)


class SharedBatchNorms(TorchFunctionMode):
    """A context in which batch norms in training mode have the statistics of all processes' parts.

    Batch norms without running statistics are left alone: they have those of their part.
    """

    def __init__(self, group: Group) -> None:
        super().__init__()
        self.group = group

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        read = _READERS.get(function)
        given = None if read is None else read(*args, **kwargs)
        return function(*args, **kwargs) if given is None else shared_batch_norm(self.group, *given)


Given = tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None, float, float]
"""The arguments of ``shared_batch_norm``, but for the group."""


def _functional(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Given | None:
    """Read a call of ``torch.nn.functional.batch_norm``; None if it takes no statistics of the batch."""
    if not training or running_mean is None or running_var is None:
        return None
    return input, running_mean, running_var, weight, bias, momentum, eps


def _native(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Given | None:
    """Read a call of ``torch.batch_norm``, whose arguments have another order."""
    return _functional(input, running_mean, running_var, weight, bias, training, momentum, eps)


_READERS: Mapping[Callable[..., Any], Callable[..., Given | None]] = {
    F.batch_norm: _functional,
    torch.batch_norm: _native,
}
