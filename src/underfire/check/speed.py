"""Measure the time of one step of an attack, and estimate the time of a whole run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from underfire.attacks import preset
from underfire.attacks.benign import Benign
from underfire.attacks.noise import NOISE_DRAWS
from underfire.attacks.schedule import Stage
from underfire.batching import padded_size
from underfire.system import System, SystemView

IMAGES = 100
"""The number of images that a run's time is estimated for."""

READINGS = 4 + NOISE_DRAWS
"""The honest maps of each image in a run: clean, with another seed, with each noise draw, and after two attacks."""

COLD = 0.5
"""The first call is slower than others, so that a second one is made, unless it takes more seconds than this."""

FEW, LONG = (2, 8), 0.5
"""Work is timed on so many images first, and not on more of them if these would take more than ``LONG`` seconds."""


@dataclass(frozen=True)
class Speed:
    """Times of an interpreter's attack, in milliseconds per image unless stated otherwise.

    Args:
        batch: the number of images at once.
        forward: one forward pass.
        step: the forward and backward pass of a step on the prediction alone.
        joint: a step on prediction and maps, with all its moves.
        run_seconds: seconds for ``IMAGES`` images, all steps of ``adv2`` and of its prediction-only control. Without
            early stops, and with maps that a solver makes: an upper bound.
    """

    batch: int
    forward: float
    step: float
    joint: float
    run_seconds: float


def measure_speed(
    system: System, view: SystemView, benign: Benign, size: int, known: Speed | None = None, most: int | None = None
) -> Speed:
    """Time the steps of an attack on benign images.

    Args:
        system: the system with the interpreter as it is attacked.
        view: the view of ``system``, or of its sketch if it is known how many sketches its maps take
            (``Interpreter.sketches``). The passes of a solver are not timed but counted.
        benign: a few images; they are repeated to fill a batch.
        size: the batch size that an attack would choose.
        most: the largest number of images to time a joint step on; ``size`` if None.
        known: times with another interpreter; ``forward`` and ``step`` are the same for all interpreters.
    """
    chosen = torch.arange(padded_size(size), device=benign.images.device) % len(benign.images)
    batch = benign.images[chosen], benign.labels[chosen], benign.ids[chosen]

    def forward(images: Tensor, classes: Tensor, ids: Tensor) -> None:
        with torch.no_grad():
            view.logits(images)

    def step(images: Tensor, classes: Tensor, ids: Tensor) -> None:
        variable = images.clone().requires_grad_()
        torch.autograd.grad(_loss(view.logits(variable), classes), variable)

    def read(images: Tensor, classes: Tensor, ids: Tensor) -> None:
        variable = images.clone().requires_grad_()
        reading, _ = view.read(variable, lambda _: classes, view.begin(images, classes, ids), graph=True)
        maps = sum(maps.square().sum() for maps in reading.maps.values())
        torch.autograd.grad(_loss(reading.logits, classes) + maps, variable)

    forwards = known.forward if known else _per_image(forward, batch)
    steps = known.step if known else _per_image(step, batch)
    sketches = max(interpreter.sketches or 1 for interpreter in system.interpreters.values())
    reads = steps + sketches * max(_per_image(read, tuple(part[:most] for part in batch)) - steps, 0)

    def cost(stage: Stage) -> float:
        """Milliseconds of one step of a stage, per image."""
        return sum(
            (reads if move.reads_maps else steps) + (move.guard.iterations * forwards if move.guard else 0)
            for move in stage.moves
        )

    attack = preset("adv2").staged(system)
    joint = [stage for stage in attack.stages if stage.reads_maps]
    milliseconds = sum(stage.steps * cost(stage) for stage in attack.stages)
    milliseconds += attack.steps * steps  # the prediction-only control
    for drifting in (interpreter.view() for interpreter in system.interpreters.values()):
        if drifting.refresh_every:
            # Before every so many steps of a joint stage, and once after the last step.
            apart = [min(drifting.refresh_every, stage.refresh_within) for stage in joint]
            times = READINGS + 1 + sum(-(-stage.steps // each) for stage, each in zip(joint, apart, strict=True))
            milliseconds += times * drifting.refresh_passes * steps
    return Speed(size, forwards, steps, cost(joint[-1]), IMAGES * milliseconds / 1000)


def _loss(logits: Tensor, classes: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits, classes, reduction="sum")


def _per_image(action: Callable[[Tensor, Tensor, Tensor], None], batch: tuple[Tensor, ...]) -> float:
    """Time ``action`` on a batch, in milliseconds per image; on a few images only if these take long already."""
    images, device = batch[0], batch[0].device
    for few, more in pairwise((*FEW, len(images))):
        some = tuple(part[:few] for part in batch)
        seconds = _seconds(partial(action, *some), device, repeats=1, enough=COLD)
        if len(images) <= few or seconds * min(more, len(images)) / few > LONG:
            return 1000 * seconds / len(some[0])
    return 1000 * _seconds(lambda: action(*batch), device) / len(images)


def _seconds(action: Callable[[], None], device: torch.device, repeats: int = 4, enough: float = 0.5) -> float:
    """Compute the shortest time of a few calls, or of those that fit into ``enough`` seconds.

    The first call is slower than others, and other programs make calls slower, but nothing makes one quicker.
    """
    times: list[float] = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
        if sum(times) > enough:
            break
    return min(times)
