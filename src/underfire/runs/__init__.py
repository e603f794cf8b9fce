"""Attacks over data sets, in shards; everything measured is written down and read back."""

from __future__ import annotations

from underfire.attacks.perturbations import parse_eps
from underfire.attacks.presets import parse_steps
from underfire.runs.config import RunConfig
from underfire.runs.run import Run
from underfire.runs.running import Reporter, run_attack

__all__ = ["Reporter", "Run", "RunConfig", "parse_eps", "parse_steps", "run_attack"]
