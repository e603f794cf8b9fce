"""Find the part of a network that has no second derivative."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from underfire.classifiers import Attackable
from underfire.interpreters.smoothing import TwiceDifferentiable


def without_second_derivative(prepared: Attackable, images: Tensor) -> str | None:
    """Find the innermost module that cannot be differentiated twice.

    Every module that takes one tensor and returns one is tried alone, on its input in a forward pass of ``images``.

    Args:
        images: N x C x H x W on the network's device; a few are enough.

    Returns:
        Its name and class, such as ``layer1.0.act (MyKernel)``; None if there is no such module.
    """
    names = {part: name for name, part in prepared.module.named_modules() if name}
    with _recorded(list(names)) as inputs, torch.no_grad():
        prepared.run(images)
    failing = [part for part, given in inputs.items() if not _twice(part, given)]
    inner = [part for part in failing if not any(child in failing for child in part.modules() if child is not part)]
    return f"{names[inner[0]]} ({type(inner[0]).__name__})" if inner else None


def ends_in_an_error(values: Tensor) -> bool:
    """Return True if a function on the way to ``values`` has a gradient that cannot be differentiated.

    torch marks such functions (``once_differentiable``) by a node that raises an error. Asked for the gradient in one
    tensor, it leaves the node out without a word, and the gradient lacks everything that comes through it.
    """
    seen, waiting = set[Any](), [values.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if type(node).__name__ == "Error":  # not its name(): a function's author may have called something else so
            return True
        seen.add(node)
        waiting += [following for following, _ in node.next_functions]
    return False


@contextmanager
def _recorded(parts: list[nn.Module]) -> Iterator[dict[nn.Module, Tensor]]:
    """Context that records the input of each module of ``parts`` that takes one tensor of floats."""
    inputs: dict[nn.Module, Tensor] = {}

    def keep(part: nn.Module, given: tuple[object, ...]) -> None:
        if len(given) == 1 and isinstance(given[0], Tensor) and given[0].is_floating_point():
            inputs[part] = given[0].detach().clone()

    handles = [part.register_forward_pre_hook(keep) for part in parts]
    try:
        yield inputs
    finally:
        for handle in handles:
            handle.remove()


def _twice(part: nn.Module, given: Tensor) -> bool:
    """Return True if ``part`` can be differentiated twice in its input ``given``, in the context that views read in."""
    variable = given.clone().requires_grad_()
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), TwiceDifferentiable():
        try:
            # A copy, since some parts work in place. The square makes the first derivative depend on the input.
            output = part(variable.clone())
            if not isinstance(output, Tensor) or not output.requires_grad:
                return True
            (gradient,) = torch.autograd.grad(output.square().sum(), variable, create_graph=True)
            if not gradient.requires_grad:
                return True  # linear: its second derivative is zero, and needs no formula
            if ends_in_an_error(gradient):
                return False
            torch.autograd.grad(gradient.square().sum(), variable)
        except RuntimeError:  # torch has no class of its own for a derivative that does not exist
            return False
    return True
