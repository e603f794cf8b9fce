"""Noise draws: the maps of each image are read under random noise several times, for the limit of "kept"."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from underfire import metrics
from underfire.attacks.benign import Benign
from underfire.attacks.unsound import sound
from underfire.errors import InterpreterError
from underfire.system import System

NOISE_DRAWS = 5
"""The default number of noise draws of each image: with one draw, its seed alone moves the limit by a quarter."""


def more_noise(system: System, benign: Benign, noisy: Callable[[int], Tensor], draws: int) -> dict[str, Tensor]:
    """Read the maps under all noise draws but the first, which is judged as the noise control.

    Args:
        system: the interpreters that read.
        benign: the images, with the benign maps.
        noisy: makes the noisy images N x C x H x W of a draw.
        draws: the number of draws.

    Returns:
        Distances (``map_l1``) from the benign maps, float64 N x (draws - 1), by interpreter; empty for one draw.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in system.interpreters}
    for draw in range(1, draws):
        images = noisy(draw)
        try:
            maps = system.maps(images, benign.labels, benign.ids)
        except InterpreterError:
            finite, _ = sound(benign, images, system.classifier.logits(images))
            if finite is images:
                raise
            maps = system.maps(finite, benign.labels, benign.ids)
        for name, values in found.items():
            values.append(metrics.map_l1(maps[name].cpu(), benign.maps[name].cpu()))
    return {name: torch.stack(values, dim=1).double() for name, values in found.items() if values}
