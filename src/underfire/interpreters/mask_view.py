"""The attack's view of MASK: a mask kept beside the image, which follows it by unrolled steps ([ADV2] alg. 1)."""

from __future__ import annotations

from typing import Literal, Protocol

import torch
from torch import Tensor

from underfire.classifiers import Attackable, Recorded
from underfire.interpreters.base import State, View
from underfire.interpreters.mask_problem import Problem
from underfire.interpreters.mask_solver import jitter, solve, start, step
from underfire.interpreters.mask_unrolled import unroll
from underfire.interpreters.smoothing import TwiceDifferentiable

FIRST_KEPT, SECOND_KEPT, COUNT = 0.5, 0.25, 100.0
"""After a fresh solution: the factors of Adam's moments, and its new step count (as in ADV2's experiments)."""


class Solver(Protocol):
    """The settings of MASK that its view needs; see ``MASK``."""

    @property
    def iterations(self) -> int: ...
    @property
    def tolerance(self) -> float: ...
    @property
    def seed(self) -> int: ...
    @property
    def free_steps(self) -> int: ...
    @property
    def unrolled_steps(self) -> int: ...
    @property
    def refresh_every(self) -> int: ...
    @property
    def view_memory(self) -> Literal["fast", "small"]: ...
    def problem(self, images: Tensor) -> Problem: ...


class MaskView(View):
    """A view with a mask that follows the image.

    In each step of the attack, the mask makes a few steps of the solver without a graph, then a few that the attack
    differentiates; each of these is a look. Every ``refresh_every`` steps the mask is solved afresh.

    State: ``mask`` N x h x w and Adam's ``first``, ``second``, ``count``; for the jitter, the images' ``ids`` and the
    number of steps that the mask has ``taken``, int64 N.
    """

    def __init__(self, interpreter: Solver) -> None:
        self.interpreter = interpreter
        self.refresh_every = interpreter.refresh_every
        self.refresh_passes = interpreter.iterations

    def begin(self, prepared: Attackable, images: Tensor, classes: Tensor, ids: Tensor) -> State:
        return {**start(self.interpreter.problem(images), images.detach()), "ids": ids, "taken": torch.zeros_like(ids)}

    def refresh(self, prepared: Attackable, images: Tensor, classes: Tensor, state: State) -> State:
        own, before = self.interpreter, prepared.forwards
        found = solve(
            self.interpreter.problem(images),
            prepared.run,
            images,
            classes,
            state["ids"],
            seed=own.seed,
            iterations=own.iterations,
            tolerance=own.tolerance,
        )
        prepared.backwards += prepared.forwards - before
        return {
            **state,
            "mask": found,
            "first": FIRST_KEPT * state["first"],
            "second": SECOND_KEPT * state["second"],
            "count": torch.full_like(state["count"], COUNT),
        }

    def read(
        self, prepared: Attackable, recorded: Recorded, images: Tensor, classes: Tensor, state: State, graph: bool
    ) -> tuple[Tensor, State]:
        if not graph:
            return 1 - state["mask"], state
        own, problem = self.interpreter, self.interpreter.problem(images)
        steps = own.free_steps + own.unrolled_steps
        offsets = jitter(problem, own.seed, state["ids"], "follow", state["taken"], steps)
        layers = problem.layers(images)
        for index in range(own.free_steps):
            state = step(problem, prepared.run, layers.detach(), classes, offsets[:, index], state)

        def unrolled(layers: Tensor, index: int, state: State, graph: bool) -> State:
            with TwiceDifferentiable():
                corners = offsets[:, own.free_steps + index]
                return step(problem, prepared.run, layers, classes, corners, state, graph)

        recompute = own.view_memory == "small"
        masks, state = unroll(unrolled, layers, state, own.unrolled_steps, recompute)
        # One backward pass to the mask in each step, and one of second order through each unrolled step. If unrolled
        # steps are made twice, each has one more to the mask.
        prepared.backwards += steps + own.unrolled_steps + (own.unrolled_steps if recompute else 0)
        return 1 - masks, {**state, "taken": state["taken"] + steps}
