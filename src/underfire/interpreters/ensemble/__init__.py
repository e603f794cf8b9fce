"""Several interpreters as one: their maps, aggregated."""

from __future__ import annotations

from underfire.interpreters.ensemble.interpreter import Ensemble

__all__ = ["Ensemble"]
