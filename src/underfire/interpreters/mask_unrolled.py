"""Differentiable steps of MASK's optimiser: the derivative of its masks in the image.

There are two ways. The fast one keeps the graphs of all steps until the backward pass. The other one keeps only the
masks and moments between the steps; the backward pass makes each step again, with the graph of one step at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from underfire.interpreters.mask_solver import State

Step = Callable[[Tensor, int, State, bool], State]
"""(layers, index of the step, state, True if the new state is to be differentiable) -> new state."""

DIFFERENTIABLE = ("mask", "first", "second")
"""The parts of the state that steps are differentiated in."""


def unroll(step: Step, layers: Tensor, state: State, steps: int, recompute: bool) -> tuple[Tensor, State]:
    """Make several steps, with a graph that leads back to ``layers``.

    Args:
        step: makes one step.
        layers: the images as ``Problem.layers`` returns them.
        state: the state before the first step.
        steps: the number of steps.
        recompute: make each step again in the backward pass, instead of keeping its graph.

    Returns:
        The masks after each step, N x ``steps`` x h x w, and the last state, without a graph.
    """
    if recompute:
        values = (state[name] for name in DIFFERENTIABLE)
        masks, *rest = _Recomputed.apply(layers, step, steps, state["count"], *values)
        last = dict(zip((*DIFFERENTIABLE, "count"), (value.detach() for value in rest), strict=True))
        return masks, {**state, **last}
    state = {**state, "mask": state["mask"].detach().requires_grad_()}
    found = []
    for index in range(steps):
        state = step(layers, index, state, True)
        found.append(state["mask"])
    return torch.stack(found, 1), {name: value.detach() for name, value in state.items()}


class _Recomputed(torch.autograd.Function):
    """Several steps without graphs; the backward pass makes each again, last one first."""

    @staticmethod
    def forward(ctx: Any, layers: Tensor, step: Step, steps: int, count: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        state: State = dict(zip(DIFFERENTIABLE, values, strict=True)) | {"count": count}
        states, found = [], []
        for index in range(steps):
            states.append([state[name] for name in (*DIFFERENTIABLE, "count")])
            state = step(layers.detach(), index, state, False)
            found.append(state["mask"])
        ctx.save_for_backward(layers, *(value for each in states for value in each))
        ctx.step, ctx.steps = step, steps
        rest = [state[name].clone() for name in (*DIFFERENTIABLE, "count")]
        ctx.mark_non_differentiable(*rest)
        return (torch.stack(found, 1), *rest)

    @staticmethod
    def backward(ctx: Any, outer: Tensor, *_rest: Tensor) -> tuple[Tensor | None, ...]:
        layers, *saved = ctx.saved_tensors
        width = len(DIFFERENTIABLE) + 1
        total = torch.zeros_like(layers)
        adjoint = [torch.zeros_like(value) for value in saved[: width - 1]]
        for index in reversed(range(ctx.steps)):
            *values, count = saved[index * width : (index + 1) * width]
            adjoint[0] = adjoint[0] + outer[:, index]
            with torch.enable_grad():
                leaves = [value.detach().requires_grad_() for value in (layers, *values)]
                state = dict(zip(DIFFERENTIABLE, leaves[1:], strict=True)) | {"count": count}
                state = ctx.step(leaves[0], index, state, True)
                reached = [state[name] for name in DIFFERENTIABLE]
                to_layers, *adjoint = torch.autograd.grad(reached, leaves, adjoint)
            total += to_layers
        return (total, *[None] * (3 + len(DIFFERENTIABLE)))
