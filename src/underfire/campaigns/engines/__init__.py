"""Engines: how the units of a campaign are done. One file each."""

from __future__ import annotations

from underfire.campaigns.engines.base import Engine, Stop
from underfire.campaigns.engines.inline import Inline
from underfire.campaigns.engines.processes import Processes

__all__ = ["Engine", "Inline", "Processes", "Stop"]
