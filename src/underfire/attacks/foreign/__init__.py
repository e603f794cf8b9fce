"""Attacks of other libraries as baselines: ``attack`` is what they become here, ``libraries`` how each is called."""

from __future__ import annotations

from underfire.attacks.foreign.attack import ForeignAttack

__all__ = ["ForeignAttack"]
