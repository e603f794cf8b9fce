"""What can be known about a classifier and its data before an attack."""

from __future__ import annotations

from underfire.check.checking import Check, Finding, run_check

__all__ = ["Check", "Finding", "run_check"]
