"""``underfire check``: look at a classifier and its data before an attack."""

from __future__ import annotations

from underfire.check.checking import Check, run_check
from underfire.check.line import CheckLine
from underfire.check.trials import InterpreterTrial

__all__ = ["Check", "CheckLine", "InterpreterTrial", "run_check"]
