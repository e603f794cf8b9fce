"""The training loop for all networks of this package: phases of steps, resumable with the same bits.

A step depends on its number alone, never on the steps that this process ran before it, apart from the state that a
checkpoint holds: torch's global random numbers, such as those of dropout, begin anew in each. So a training that was
interrupted ends in the same weights as one that was not.

Several processes can train one network together (see ``processes.Group``). Each has a copy of the network, and all
copies stay the same, because their gradients are summed before each update.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from underfire.batch_norms import SharedBatchNorms
from underfire.checkpoints import load_checkpoint, save_checkpoint
from underfire.errors import InputError, StoreError, warn
from underfire.processes import ALONE, Group
from underfire.randomness import number_of, seeded
from underfire.text import first_few

LOSSES = "losses.csv"
"""The file of a training's recorded values."""

Log = dict[str, dict[str, list[float]]]
"""The recorded values of a training: by phase and name, one per step."""


OPTIMISERS = ("sgd", "adam", "adamw")


def make_optimiser(
    kind: str, parameters: Iterable[nn.Parameter], rate: float, weight_decay: float, momentum: float = 0.9
) -> torch.optim.Optimizer:
    """Make an optimiser: ``sgd`` with Nesterov momentum, ``adam``, or ``adamw`` (Loshchilov & Hutter 2019)."""
    if kind == "sgd":
        return torch.optim.SGD(parameters, lr=rate, momentum=momentum, weight_decay=weight_decay, nesterov=momentum > 0)
    adaptive = torch.optim.AdamW if kind == "adamw" else torch.optim.Adam
    return adaptive(parameters, lr=rate, weight_decay=weight_decay)


@dataclass(frozen=True)
class Phase:
    """One part of a training, with its own steps and optimiser.

    Args:
        name: unique among the phases of a training.
        steps: number of steps.
        optimiser: updates the parameters that this phase trains.
        rate: learning rate by step number (from 0).
        compute: values of a step by step number (from 0), each a tensor with one element. ``loss`` is minimised; all
            are recorded. If several processes train together, these are the parts of one process: their sums over the
            processes are the values of the step.
        checkpoint_every: steps from one checkpoint to the next. The last step writes one as well.
        average: the decay of an exponential moving average of the weights, in [0, 1). At the end of the phase the
            network gets the average. 0 means none.
    """

    name: str
    steps: int
    optimiser: torch.optim.Optimizer
    rate: Callable[[int], float]
    compute: Callable[[int], Mapping[str, Tensor]]
    checkpoint_every: int
    average: float = 0.0


@dataclass(frozen=True)
class Step:
    """A finished step: its phase, its number in the phase from 1, the phase's number of steps, and recorded values."""

    phase: str
    number: int
    total: int
    values: Mapping[str, float]


class Average:
    """An exponential moving average of a network's parameters and buffers: a <- d a + (1 - d) w.

    The decay d begins small, at min(decay, (1 + n) / (10 + n)) in step n, so that the first weights are soon forgotten.

    Args:
        network: the network in training.
        decay: in [0, 1).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network, self.decay = network, decay
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, number: int) -> None:
        """Take in the weights after step ``number``, from 0. Whole numbers are copied."""
        decay = min(self.decay, (1 + number) / (10 + number))
        for name, value in self.network.state_dict().items():
            mean = self.state[name]
            if value.is_floating_point():
                mean.mul_(decay).add_(value, alpha=1 - decay)
            else:
                mean.copy_(value)


@contextmanager
def initial_weights(seed: int = 0) -> Iterator[None]:
    """Context in which networks draw their initial weights from ``seed``.

    torch's global random numbers continue afterwards as if nothing had been drawn.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield


def _check_buffers(network: nn.Module, group: Group) -> None:
    """Check that the buffers that are saved are the same in all processes. Raises InputError if not."""
    saved = network.state_dict()
    differing = group.differing({name: value for name, value in network.named_buffers() if name in saved})
    if differing:
        raise InputError(
            f"the {group.count} processes of this training have other values in {first_few(differing)} of the network: "
            "each computes them from its own part of the batch. Only batch norms are shared between processes, and no "
            "checkpointed activations. Train this network on one device."
        )


def train(
    network: nn.Module,
    phases: Sequence[Phase],
    folder: Path,
    on_step: Callable[[Step], None] | None = None,
    group: Group = ALONE,
    seed: int = 0,
) -> Log:
    """Train ``network`` in place, phase after phase, continuing from the folder's checkpoint if there is one.

    Args:
        network: on its device. It is in training mode during each step.
        phases: in their order.
        folder: the folder of the checkpoint; it must exist (see ``checkpoints.open_training``).
        on_step: called after each step, once a checkpoint of that step is on disk; in the leading process alone.
        group: the processes that train together. All of them read the checkpoint, and the leading one writes it.
            Batch norms in training mode have the statistics of the whole batch.
        seed: of random numbers that the network itself draws, such as the masks of dropout.

    Returns:
        The recorded values, also those of the steps before an interruption.

    Raises:
        InputError: the loss is not finite any more, and the checkpoint of an earlier step stays; or the processes do
            not see the same checkpoint, or do not have the same buffers after a step.
        StoreError: the checkpoint does not fit this training, or cannot be written.
        ProcessLostError: another process has ended.
    """
    log: Log = {phase.name: {} for phase in phases}
    first, begin, averaged = 0, 0, None
    device = next(network.parameters()).device
    saved = load_checkpoint(folder, device)
    if saved is not None:
        try:
            first = [phase.name for phase in phases].index(saved["phase"])
            begin, log = saved["step"], saved["log"]
            network.load_state_dict(saved["network"])
            phases[first].optimiser.load_state_dict(saved["optimiser"])
            averaged = saved["average"] if phases[first].average else None
        except (KeyError, ValueError, RuntimeError) as error:
            raise StoreError(
                f"the checkpoint in {folder} does not fit this training ({type(error).__name__}: {error}). Was it "
                "written by another version of underfire? Choose another folder."
            ) from error
        if group.leads and saved.get("processes", 1) != group.count:
            warn(
                f"the checkpoint is of {saved.get('processes', 1)} processes, and this training goes on with "
                f"{group.count}. Images and random numbers of each step stay the same, but sums are rounded in another "
                "order, so that the weights are not those of a training that was not interrupted, bit for bit."
            )
    group.agree({"checkpoint": f"{first} {begin}"})
    for phase in phases[first:]:
        average = Average(network, phase.average) if phase.average else None
        if average is not None and averaged is not None:
            average.state, averaged = averaged, None
        for number in range(begin, phase.steps):
            network.train()
            phase.optimiser.param_groups[0]["lr"] = phase.rate(number)
            with seeded(number_of(f"{phase.name} {number} {group.number}") + seed, device):
                with SharedBatchNorms(group) if group.count > 1 else nullcontext():
                    computed = phase.compute(number)
                phase.optimiser.zero_grad()
                torch.autograd.backward(computed["loss"])  # it may compute checkpointed activations again, unshared
            if number == begin:
                _check_buffers(network, group)
            group.sum_gradients([value for part in phase.optimiser.param_groups for value in part["params"]])
            phase.optimiser.step()
            if average is not None:
                average.update(number)
            sums = group.sum(torch.stack([value.detach().reshape(()) for value in computed.values()]))
            values = dict(zip(computed, sums.tolist(), strict=True))
            if not math.isfinite(values["loss"]):
                raise InputError(
                    f"the loss of step {number + 1} of the training {phase.name!r} is {values['loss']}: the training "
                    f"has diverged. Take a smaller learning rate (it is {phase.rate(number):.3g} in this step), or "
                    "smaller weights in the loss."
                )
            for name, value in values.items():
                log[phase.name].setdefault(name, []).append(value)
            if group.leads and ((number + 1) % phase.checkpoint_every == 0 or number + 1 == phase.steps):
                state = {"phase": phase.name, "step": number + 1, "network": network.state_dict(), "log": log}
                state["processes"] = group.count
                kept = {} if average is None else {"average": average.state}
                save_checkpoint(folder, state | kept | {"optimiser": phase.optimiser.state_dict()})
            if on_step is not None and group.leads:
                on_step(Step(phase.name, number + 1, phase.steps, values))
        if average is not None:
            network.load_state_dict(average.state)
        begin = 0
    return log


def table(log: Log) -> str:
    """Write the recorded values as CSV, in the order of steps."""
    lines = ["phase,step,name,value"]
    for phase, columns in log.items():
        for step, values in enumerate(zip(*columns.values(), strict=True), 1):
            lines += [f"{phase},{step},{name},{value:.6g}" for name, value in zip(columns, values, strict=True)]
    return "\n".join(lines) + "\n"
