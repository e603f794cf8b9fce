"""The memory format of a prepared copy: the one in which its passes are fastest on its device."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

CHANNELS_LAST, CONTIGUOUS = torch.channels_last, torch.contiguous_format

GAIN = 0.9
"""Another format than the usual one is taken if it needs less than this share of the time. A smaller gain could be
chance, and the same network would get one format today and another tomorrow, with other last bits."""

WARM_UP, PASSES = 2, 3
"""Passes before the time is taken, and passes whose median counts."""


def usual_format(dtype: torch.dtype, device: torch.device) -> torch.memory_format:
    """The format that is usually the fastest: on GPUs, float32 convolutions are slower in ``channels_last``."""
    return CHANNELS_LAST if device.type == "cpu" or dtype is torch.bfloat16 else CONTIGUOUS


class InstanceNorms(TorchFunctionMode):
    """A context that notes in ``seen`` if an instance norm is computed.

    In ``channels_last``, torch's gradient of it is wrong on a CPU for a single image (torch 2.13).
    """

    seen = False

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        self.seen = self.seen or func in (F.instance_norm, torch.instance_norm)
        return func(*args, **(kwargs or {}))


def is_measured(device: torch.device) -> bool:
    """Return True if the format is measured on ``device``: on a GPU. On a CPU no bit shall depend on a clock."""
    return device.type == "cuda"


def fastest_format(seconds: Callable[[torch.memory_format], float], usual: torch.memory_format) -> torch.memory_format:
    """Choose the format of a network.

    Args:
        seconds: measures the passes in a format.
        usual: the format that is kept unless the other one is clearly faster.
    """
    other = CONTIGUOUS if usual is CHANNELS_LAST else CHANNELS_LAST
    return other if seconds(other) < GAIN * seconds(usual) else usual


def time_of(action: Callable[[], None], device: torch.device) -> float:
    """Measure the median time of ``action`` in seconds, after a warm-up; the work of a GPU is waited for."""
    times = []
    for _ in range(WARM_UP + PASSES):
        _wait(device)
        started = time.perf_counter()
        action()
        _wait(device)
        times.append(time.perf_counter() - started)
    return sorted(times[WARM_UP:])[PASSES // 2]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
