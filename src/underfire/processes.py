"""The processes that train one network together: each computes its part of every batch, and all take the same steps.

Gradients are summed by hand, and not by ``DistributedDataParallel``, which Lightning Fabric and Accelerate wrap: it
averages gradients of passes through its own ``forward`` alone, and only if every parameter gets a gradient. Losses with
gradients in images, and attacks on the network as it stands, pass through the network itself. Then each process would
keep its own gradients, without a message.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from underfire.errors import InputError, UnderfireError


class ProcessLostError(UnderfireError):
    """A process of a group has ended, so that the group's other processes cannot go on."""


@dataclass(frozen=True)
class Part:
    """The part of a batch that one process computes.

    Args:
        rows: its images in the batch.
        weight: its images over those of the batch, in (0, 1]: what a mean over the part counts in the batch's mean.
    """

    rows: slice
    weight: float


@dataclass(frozen=True)
class Group:
    """The processes that train one network together, as one of them sees them.

    Args:
        number: of this process, from 0. Process 0 leads: it alone writes files and shows progress.
        count: the number of processes.
        device: of this process.
    """

    number: int
    count: int
    device: torch.device

    @property
    def leads(self) -> bool:
        """True if this process writes the files."""
        return self.number == 0

    def part(self, images: int) -> Part:
        """Find this process's part of a batch.

        Args:
            images: the number of images of the batch.

        Raises:
            InputError: there are fewer images than processes.
        """
        if images < self.count:
            raise InputError(
                f"a batch has {images} images for {self.count} processes; expected at least one image for each. Give "
                "larger batches, or fewer devices."
            )
        rows = slice(images * self.number // self.count, images * (self.number + 1) // self.count)
        return Part(rows, (rows.stop - rows.start) / images)

    def sum(self, values: Tensor) -> Tensor:
        """Compute the sum of ``values`` over the processes, the same bits in each; no graph.

        Raises:
            ProcessLostError: another process has ended.
        """
        total = values.detach().clone()
        if self.count > 1:
            total = total.to(self.device)
            with _naming_the_loss():
                dist.all_reduce(total)
        return total.to(values.device)

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replace the gradient of each parameter by its sum over the processes.

        A parameter that has no gradient in any process keeps none.

        Raises:
            ProcessLostError: another process has ended.
        """
        if self.count == 1:
            return
        for dtype in dict.fromkeys(value.dtype for value in parameters):
            own = [value for value in parameters if value.dtype == dtype]
            flat = [torch.zeros_like(each if each.grad is None else each.grad) for each in own]
            for place, each in zip(flat, own, strict=True):
                if each.grad is not None:
                    place.copy_(each.grad)
            there = torch.tensor([each.grad is not None for each in own]).to(flat[0])
            total = self.sum(torch.cat([there, *(each.reshape(-1) for each in flat)]))
            known, rest = total[: len(own)].tolist(), total[len(own) :].split([each.numel() for each in own])
            for each, place, found, summed in zip(own, flat, known, rest, strict=True):
                each.grad = place.copy_(summed.view_as(each)) if found else None

    def agree(self, facts: Mapping[str, str]) -> None:
        """Check that every process knows the same facts. No process goes on before all have come here.

        Args:
            facts: texts by name; the names are the same in every process.

        Raises:
            InputError: a fact differs.
            ProcessLostError: another process has ended.
        """
        if self.count == 1:
            return
        digests = [list(hashlib.sha256(text.encode()).digest()) for text in facts.values()]
        own = torch.tensor(digests, dtype=torch.uint8, device=self.device)
        found = [torch.empty_like(own) for _ in range(self.count)]
        with _naming_the_loss():
            dist.all_gather(found, own)
        wrong = [
            name for row, name in enumerate(facts) if any(not torch.equal(each[row], found[0][row]) for each in found)
        ]
        if wrong:
            raise InputError(
                f"the {self.count} processes of this training do not have the same {' and '.join(wrong)}. Do all of "
                "them see the same files, and does the classifier's code make the same weights each time?"
            )

    def differing(self, values: Mapping[str, Tensor]) -> list[str]:
        """Find the tensors whose values are not the same in all processes, but for rounding.

        Args:
            values: by name; the names and shapes are the same in every process.

        Returns:
            Their names, the same ones in every process.

        Raises:
            ProcessLostError: another process has ended.
        """
        if self.count == 1 or not values:
            return []
        own = [value.detach().to(torch.float64) for value in values.values()]
        total = self.sum(torch.cat([value.reshape(-1) for value in own])) / self.count
        means = total.split([value.numel() for value in own])
        equal = [
            torch.allclose(value.reshape(-1), mean, rtol=1e-4, atol=1e-6, equal_nan=True)
            for value, mean in zip(own, means, strict=True)
        ]
        wrong = self.sum(torch.tensor([not each for each in equal], dtype=torch.float64)).tolist()
        return [name for name, each in zip(values, wrong, strict=True) if each]


ALONE = Group(0, 1, torch.device("cpu"))
"""A single process, whose network may be on any device."""


@contextmanager
def _naming_the_loss() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # all errors of torch.distributed are of this kind
        raise ProcessLostError(
            f"another process of this training has ended, or cannot be reached ({error}). Its own message says why."
        ) from error


@contextmanager
def joined(number: int, count: int, device: torch.device, meeting: str = "env://") -> Iterator[Group]:
    """Context in which this process belongs to a group of processes. One group at a time can be joined.

    Args:
        number: of this process, from 0.
        count: the number of processes.
        device: of this process. GPUs exchange values by NCCL, and CPUs by Gloo.
        meeting: where the processes find each other, as ``torch.distributed.init_process_group`` takes it. By default
            in the environment variables that ``torchrun`` sets.

    Raises:
        InputError: this build of PyTorch cannot train in several processes.
        ProcessLostError: the other processes cannot be reached.
    """
    if not dist.is_available():
        raise InputError("this build of PyTorch has no torch.distributed: train on one device.")
    if device.type == "cuda" and not dist.is_nccl_available():
        raise InputError(f"device is {device}, and this build of PyTorch has no NCCL for several GPUs: train on one.")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with _naming_the_loss():
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo", init_method=meeting, rank=number, world_size=count
        )
    yield Group(number, count, device)
    # After an error the others may wait for this process forever, and this one, closing the group, for them.
    dist.destroy_process_group()


def in_torchrun() -> bool:
    """True if ``torchrun`` has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ and "LOCAL_RANK" in os.environ


@contextmanager
def joined_by_torchrun(cpu: bool) -> Iterator[Group]:
    """Context in which this process belongs to the group of processes that ``torchrun`` has started.

    Args:
        cpu: train on CPUs; otherwise each process takes the GPU of its number on its machine.

    Raises:
        InputError: the machine has fewer GPUs than processes.
    """
    local = int(os.environ["LOCAL_RANK"])
    if not cpu and local >= torch.cuda.device_count():
        raise InputError(
            f"torchrun started process {local} on this machine. GPUs that PyTorch sees here: "
            f"{torch.cuda.device_count()}; expected one for each process, which are counted from 0. Start fewer "
            "processes (--nproc-per-node), or give --device cpu."
        )
    device = torch.device("cpu") if cpu else torch.device("cuda", local)
    with joined(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), device) as group:
        yield group
