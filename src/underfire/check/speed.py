"""How long a step takes, and a whole run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from underfire.attacks import Preset
from underfire.attacks.base import default_batch_size
from underfire.attacks.benign import Benign
from underfire.attacks.schedule import Stage
from underfire.batching import padded_size
from underfire.system import System, SystemView

IMAGES = 100
"""Images that a run's time is estimated for."""


READINGS = 5
"""Honest maps of each image in a run: clean, under another seed, with noise, and after each of the two attacks."""


@dataclass(frozen=True)
class Speed:
    """Milliseconds per image: ``forward``; ``step``, the forward and backward pass of a step on the prediction;
    ``joint``, a step on prediction and maps with all its moves. ``run_seconds`` is what an attack on ``IMAGES`` images
    with the full ``paper`` schedule takes beside its prediction-only control, without early stops and with the maps
    that are solved for: an upper bound."""

    batch: int
    forward: float
    step: float
    joint: float
    run_seconds: float


FEW, LONG = 8, 0.5
"""What takes so many seconds on so few images is not tried on more."""


def measure(
    system: System, view: SystemView, benign: Benign, batch: int | None = None, bare: Speed | None = None
) -> Speed:
    """Times on ``benign`` images (repeated to fill a batch), at the batch size that an attack would choose.

    Args:
        view: of ``system``, or of its sketch: what is solved for is not timed but counted in passes.
        bare: what was measured for another interpreter; ``forward`` and ``step`` do not depend on it.
    """
    size = batch or default_batch_size(benign.images)
    chosen = torch.arange(padded_size(size), device=benign.images.device) % len(benign.images)
    whole_batch = benign.images[chosen], benign.labels[chosen], benign.ids[chosen]

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

    forwards = bare.forward if bare else _per_image(forward, whole_batch)
    steps = bare.step if bare else _per_image(step, whole_batch)
    reads = _per_image(read, whole_batch)

    def cost(stage: Stage) -> float:
        return sum(
            (reads if move.reads_maps else steps) + (move.guard.iterations * forwards if move.guard else 0)
            for move in stage.moves
        )

    attack = Preset("adv2", 8 / 255).build(system)
    whole = sum(stage.steps * cost(stage) for stage in attack.stages)
    control = attack.steps * steps
    joint = [stage for stage in attack.stages if stage.reads_maps]
    solved = 0.0
    for view_of in (interpreter.view() for interpreter in system.interpreters.values()):
        if view_of.refresh_every:
            # Before every so many steps of a joint stage, and once after the last.
            times = READINGS + 1 + sum(-(-stage.steps // view_of.refresh_every) for stage in joint)
            solved += times * view_of.refresh_passes * steps
    return Speed(size, forwards, steps, cost(joint[-1]), IMAGES * (whole + control + solved) / 1000)


def _loss(logits: Tensor, classes: Tensor) -> Tensor:
    return torch.nn.functional.cross_entropy(logits, classes, reduction="sum")


def _per_image(action: Callable[[Tensor, Tensor, Tensor], None], batch: tuple[Tensor, Tensor, Tensor]) -> float:
    """Milliseconds per image, of the whole batch where a few images do not take long already."""
    images, device = batch[0], batch[0].device
    some = tuple(part[:FEW] for part in batch)
    first = _seconds(lambda: action(*some), device, repeats=1, enough=LONG)
    if first > LONG or len(images) <= FEW:
        return 1000 * first / len(some[0])
    return 1000 * _seconds(lambda: action(*batch), device) / len(images)


def _seconds(action: Callable[[], None], device: torch.device, repeats: int = 3, enough: float = 3.0) -> float:
    """The median of a few times after a first one; of one time, where a single one takes ``enough`` seconds."""
    times: list[float] = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
        if sum(times) > enough:
            break
    times = times[1:] or times
    return sorted(times)[len(times) // 2]
