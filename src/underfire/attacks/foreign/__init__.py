"""Attacks of other libraries as baselines: ``attack`` wraps them, ``libraries`` knows how each library is called."""

from __future__ import annotations

from underfire.attacks.foreign.attack import ForeignAttack

__all__ = ["ForeignAttack"]
