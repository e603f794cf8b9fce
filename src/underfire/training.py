"""The training loop for all networks of this package: phases of steps, resumable with the same bits.

A step depends on its number alone, never on the steps that this process ran before it, apart from the state that a
checkpoint holds. So a training that was interrupted ends in the same weights as one that was not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from underfire.checkpoints import load_checkpoint, save_checkpoint
from underfire.errors import StoreError

Log = dict[str, dict[str, list[float]]]
"""The recorded values of a training: by phase and name, one per step."""


@dataclass(frozen=True)
class Phase:
    """One part of a training, with its own steps and optimiser.

    Args:
        name: unique among the phases of a training.
        steps: number of steps.
        optimiser: updates the parameters that this phase trains.
        rate: learning rate by step number (from 0).
        compute: values of a step by step number (from 0), each a tensor with one element. ``loss`` is minimised; all
            are recorded.
        checkpoint_every: steps from one checkpoint to the next. The last step writes one as well.
    """

    name: str
    steps: int
    optimiser: torch.optim.Optimizer
    rate: Callable[[int], float]
    compute: Callable[[int], Mapping[str, Tensor]]
    checkpoint_every: int


@dataclass(frozen=True)
class Step:
    """A finished step: its phase, its number in the phase from 1, the phase's number of steps, and recorded values."""

    phase: str
    number: int
    total: int
    values: Mapping[str, float]


@contextmanager
def initial_weights(seed: int = 0) -> Iterator[None]:
    """Context in which networks draw their initial weights from ``seed``.

    torch's global random numbers continue afterwards as if nothing had been drawn.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def train(
    network: nn.Module, phases: Sequence[Phase], folder: Path, on_step: Callable[[Step], None] | None = None
) -> Log:
    """Train ``network`` in place, phase after phase, continuing from the folder's checkpoint if there is one.

    Args:
        network: on its device. It is in training mode during each step.
        phases: in their order.
        folder: the folder of the checkpoint; it must exist (see ``checkpoints.open_training``).
        on_step: called after each step, once a checkpoint of that step is on disk.

    Returns:
        The recorded values, also those of the steps before an interruption.

    Raises:
        StoreError: the checkpoint does not fit this training, or cannot be written.
    """
    log: Log = {phase.name: {} for phase in phases}
    first, begin = 0, 0
    saved = load_checkpoint(folder, next(network.parameters()).device)
    if saved is not None:
        try:
            first = [phase.name for phase in phases].index(saved["phase"])
            begin, log = saved["step"], saved["log"]
            network.load_state_dict(saved["network"])
            phases[first].optimiser.load_state_dict(saved["optimiser"])
        except (KeyError, ValueError, RuntimeError) as error:
            raise StoreError(
                f"the checkpoint in {folder} does not fit this training ({type(error).__name__}: {error}). Was it "
                "written by another version of underfire? Choose another folder."
            ) from error
    for phase in phases[first:]:
        for number in range(begin, phase.steps):
            network.train()
            phase.optimiser.param_groups[0]["lr"] = phase.rate(number)
            computed = phase.compute(number)
            phase.optimiser.zero_grad()
            torch.autograd.backward(computed["loss"])
            phase.optimiser.step()
            values = {name: float(value.detach()) for name, value in computed.items()}
            for name, value in values.items():
                log[phase.name].setdefault(name, []).append(value)
            if (number + 1) % phase.checkpoint_every == 0 or number + 1 == phase.steps:
                state = {"phase": phase.name, "step": number + 1, "network": network.state_dict(), "log": log}
                save_checkpoint(folder, state | {"optimiser": phase.optimiser.state_dict()})
            if on_step is not None:
                on_step(Step(phase.name, number + 1, phase.steps, values))
        begin = 0
    return log
