"""Copies of networks, also of such as have run and kept what they computed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from underfire.errors import ClassifierError

Network = TypeVar("Network", bound=nn.Module)


class _WithoutGraphs(TorchFunctionMode):
    """A context in which tensors that are part of a graph can be copied: their copies are part of none.

    torch refuses to copy them. Networks have them if they keep their last features, or if a hook computes a weight at
    each pass (old-style weight norm and spectral norm, pruning).
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is not Tensor.__deepcopy__ or args[0].is_leaf:
            return func(*args, **(kwargs or {}))
        tensor, memo = args
        if id(tensor) not in memo:
            memo[id(tensor)] = tensor.detach().clone()
        return memo[id(tensor)]


def copied(network: Network, shared: dict[int, Any] | None = None) -> Network:
    """Make a deep copy of a network or a classifier.

    Args:
        network: it is not changed.
        shared: what is not to be copied, by its ``id``.

    Raises:
        ClassifierError: it cannot be copied.
    """
    try:
        with _WithoutGraphs():
            return copy.deepcopy(network, shared)
    except (RuntimeError, TypeError) as error:
        raise ClassifierError(
            f"the classifier cannot be copied ({error}). An open file or a lock in a module prevents it: remove it, or "
            "pass a fresh network."
        ) from error
