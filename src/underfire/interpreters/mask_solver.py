"""MASK's optimiser: Adam on a batch of masks. Each image has its own moments, its own jitter and its own last step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from underfire import adam, randomness
from underfire.batching import filled_size, padding
from underfire.interpreters.mask_problem import Problem

State = dict[str, Tensor]
Run = Callable[[Tensor], Tensor]
"""Images N x C x H x W -> logits N x K."""

CHECK_EVERY = 10
"""The number of steps between two checks for masks that have come to rest."""


def start(problem: Problem, images: Tensor) -> State:
    """Make the first state: masks that are ``settings.start`` everywhere, and Adam's moments at 0."""
    settings = problem.settings
    masks = images.new_full((len(images), settings.rows, settings.columns), settings.start)
    return {"mask": masks, **adam.start(masks)}


def step(
    problem: Problem, run: Run, layers: Tensor, classes: Tensor, offsets: Tensor, state: State, graph: bool = False
) -> State:
    """Make one step of Adam on the masks, clipped to [0, 1]: one forward pass, and one backward pass to the masks.

    Args:
        layers: the images as ``Problem.layers`` returns them.
        classes: int64 N.
        offsets: int64 N x 2, the corner of each image's crop.
        graph: True if the new state is to be differentiable in ``layers`` and in the old state.
    """
    masks = state["mask"] if graph else state["mask"].detach().requires_grad_()
    with torch.enable_grad():
        losses = problem.loss(run(problem.blend(layers, masks, offsets)), classes, masks)
        (gradient,) = torch.autograd.grad(losses.sum(), masks, create_graph=graph)
    with torch.set_grad_enabled(graph):
        direction, moments = adam.direction(gradient, {name: state[name] for name in ("first", "second", "count")})
        moved = masks + problem.settings.learning_rate * direction
        return {**state, "mask": moved.clamp(0, 1), **moments}


def jitter(problem: Problem, seed: int, ids: Tensor, purpose: str, at: int | Tensor, steps: int) -> Tensor:
    """Draw the corners of the crops, int64 N x ``steps`` x 2, from each image's own random numbers."""
    return randomness.integers(seed, ids, f"mask {purpose}", at, (steps, 2), problem.settings.jitter + 1)


def solve(
    problem: Problem,
    run: Run,
    images: Tensor,
    classes: Tensor,
    ids: Tensor,
    *,
    seed: int,
    iterations: int,
    tolerance: float = 0.0,
) -> Tensor:
    """Optimise the masks of a batch, N x h x w in [0, 1].

    A mask stops early once none of its cells has moved by more than ``tolerance`` over ``CHECK_EVERY`` steps. Finished
    images leave the batch in groups of eight, which changes no bit of the remaining masks (on a GPU, only once all are
    finished).

    Args:
        problem: the loss.
        run: the network.
        images: N x C x H x W in [0, 1], N a multiple of eight (see ``batching``).
        classes: int64 N.
        ids: int64 N, the images' identities, for the jitter.
        seed: seed of the jitter.
        iterations: the number of steps.
        tolerance: see above; 0 to make all steps.
    """
    with torch.no_grad():
        layers = problem.layers(images.detach())
    state = start(problem, layers)
    offsets = jitter(problem, seed, ids, "solve", 0, iterations)
    found, row, before = state["mask"].clone(), torch.arange(len(images), device=images.device), state["mask"]
    for index in range(iterations):
        state = step(problem, run, layers, classes, offsets[:, index], state)
        if not tolerance or index % CHECK_EVERY < CHECK_EVERY - 1:
            continue
        moving = (state["mask"] - before).abs().amax((1, 2)) > tolerance
        before = state["mask"]
        rested = (row >= 0) & ~moving
        found[row[rested]] = before[rested]
        row = torch.where(rested, -1, row)
        active = (row >= 0).nonzero().squeeze(1)
        if not len(active):
            return found
        fill = padding(len(active), filled_size(len(active), len(images), images.device), images.device)
        if len(fill) < len(row):
            keep = active[fill]
            row = torch.where(torch.arange(len(fill), device=row.device) < len(active), row[keep], -1)
            layers, classes, offsets, before = layers[keep], classes[keep], offsets[keep], before[keep]
            state = {name: value[keep] for name, value in state.items()}
    found[row[row >= 0]] = state["mask"][row >= 0]
    return found
