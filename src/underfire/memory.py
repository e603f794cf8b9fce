"""Memory: the number of images that are processed at once, what a step keeps, and what is free."""

from __future__ import annotations

import os
import re
import sys
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import torch
from torch import Tensor

from underfire.allocation import give_back
from underfire.arguments import check_at_least
from underfire.batching import MULTIPLE
from underfire.errors import InputError

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "KI": 2**10, "MI": 2**20, "GI": 2**30, "TI": 2**40}


def suited_size(height: int, width: int, device: torch.device) -> int:
    """Choose a batch size, a multiple of eight up to 256, for images of ``height`` x ``width`` pixels.

    On a CPU the batch is small enough to stay in the caches; on a GPU it is large enough to keep the device busy.
    """
    pixels = height * width
    room = (64 if device.type == "cpu" else 1024) * 32 * 32 * (4 if pixels > 64 * 64 else 1)
    return max(MULTIPLE, min(256, room // pixels // MULTIPLE * MULTIPLE))


def parse_bytes(text: str) -> int:
    """Convert a size such as ``8GB``, ``500 MB`` or ``2GiB`` to bytes. Raises InputError if it is none, or zero."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?I?)B?\s*", text.upper())
    size = float(found[1]) * UNITS.get(found[2], 0) if found else 0
    if size < 1:
        raise InputError(f"memory is {text!r}; expected a size above zero with its unit, such as 8GB, 500MB or 2GiB.")
    return int(min(size, sys.maxsize))


def bytes_of(memory: float | str | None) -> int | None:
    """Return a size in bytes, given as a number of bytes or a text for ``parse_bytes``; None for None.

    Raises:
        InputError: it is neither, or not above zero.
    """
    if memory is None or isinstance(memory, str):
        return None if memory is None else parse_bytes(memory)
    if not isinstance(memory, Real):
        raise InputError(f"memory is {memory!r:.80}; expected a number of bytes, or a text with a unit, such as 8GB.")
    check_at_least("memory", memory, 1, " byte, or a text with a unit, such as 8GB")
    return int(min(memory, sys.maxsize))


def free_bytes(device: torch.device) -> int:
    """The memory that this process can still take on ``device``, in bytes.

    On a GPU, memory that torch keeps for later use counts as free. On a CPU it is what the system calls available,
    within the limit of the process's control group, if there is one.
    """
    if device.type == "cuda":
        free, _total = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(_available(), _left_in_group())


def _available() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:  # systems without /proc: half of what is built in
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):
        return 4 * 10**9


def _left_in_group() -> int:
    """Return the bytes that the container's limit (its control group's) leaves; a huge number if there is none."""
    root = Path("/sys/fs/cgroup")
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            return max(0, int((root / limit).read_text()) - int((root / used).read_text()))
        except (OSError, ValueError):  # no such file, or "max": there is no limit
            continue
    return 2**63 - 1


@dataclass
class Kept:
    """The bytes that backward passes keep, by the tensors that autograd saves.

    Args:
        now: bytes that are kept at the moment.
        peak: the largest value that ``now`` had.
    """

    now: int = 0
    peak: int = 0


@contextmanager
def counting(weights: Iterable[Tensor] = ()) -> Iterator[Kept]:
    """Context that counts the memory that autograd keeps for backward passes, on any device.

    A tensor that several operations keep counts once, and no longer than it is kept.

    Args:
        weights: tensors that are in memory anyway; they do not count.
    """
    kept, users = Kept(), dict[int, int]()
    anyway = {weight.untyped_storage().data_ptr() for weight in weights}

    def pack(tensor: Tensor) -> _Held:
        storage = tensor.untyped_storage()
        place = storage.data_ptr()
        held = _Held(tensor.detach())  # with its history, a tensor that holds itself would never be freed
        if place in anyway:
            return held
        if place not in users:
            kept.now += storage.nbytes()
            kept.peak = max(kept.peak, kept.now)
        users[place] = users.get(place, 0) + 1

        def released(size: int = storage.nbytes()) -> None:
            users[place] -= 1
            if not users[place]:
                del users[place]
                kept.now -= size

        weakref.finalize(held, released)
        return held

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda held: held.tensor):
        yield kept


class _Held:
    """A tensor that autograd keeps."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def room(device: torch.device, memory: int | None = None) -> int:
    """The bytes that the next step may take: what is free, and what ``memory`` leaves of it if that is given.

    On a CPU, memory that was freed is given back to the system first, so that it counts as free.

    Args:
        device: the device of the step.
        memory: the largest number of bytes that this process shall have on the device, what it has now included.
    """
    if device.type == "cpu":
        give_back()
    free = free_bytes(device)
    return free if memory is None else min(free, max(0, memory - used_bytes(device)))


def used_bytes(device: torch.device) -> int:
    """The memory that this process has on ``device`` now, in bytes; 0 if the system does not say."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device)
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def in_words(size: int) -> str:
    """Write a number of bytes with its unit: ``1.5 GB``."""
    unit, letter = (10**9, "G") if size >= 10**9 else (10**6, "M")
    return f"{size / unit:.2g} {letter}B" if size < 10 * unit else f"{size / unit:.0f} {letter}B"
