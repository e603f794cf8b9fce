"""Campaigns: attacks over data sets, in shards, with everything that was measured written down."""

from __future__ import annotations

from underfire.attacks.perturbations import parse_eps
from underfire.runs.config import RunConfig, parse_steps
from underfire.runs.runner import Reporter, run_attack

__all__ = ["Reporter", "RunConfig", "parse_eps", "parse_steps", "run_attack"]
