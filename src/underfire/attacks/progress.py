"""Progress of an attack."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called after each step with the number of steps done and of all steps."""
