"""Run attacks without judging them, as the protocol does."""

from __future__ import annotations

from typing import Any

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
