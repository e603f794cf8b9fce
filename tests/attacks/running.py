"""Attacks that run without being judged, and a network whose logits are changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from tests.conftest import tiny_network
from underfire.attacks import Aim, BaseAttack
from underfire.attacks.benign import Benign
from underfire.attacks.outcome import Outcome
from underfire.system import SystemView


def run_alone(
    attack: BaseAttack, view: SystemView, benign: Benign, batch_size: int = 8, seed: int = 0, **options: Any
) -> tuple[Aim, Outcome]:
    """Settle the aim of an attack, and run it."""
    aim = attack.aim(view, benign, seed)
    return aim, attack.run(view, benign, aim, seed=seed, batch_size=batch_size, **options)


class Wrapped(nn.Module):
    """A good network with something done to its logits."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.change = tiny_network(), change

    def forward(self, images: Tensor) -> Tensor:
        return self.change(self.network(images))
