"""The attacks of the papers, by name.

A preset depends on the system, since the published schedules depend on the interpreter.
"""

from __future__ import annotations

from underfire.attacks.presets.auto import BUDGET
from underfire.attacks.presets.kinds import KINDS, Kind
from underfire.attacks.presets.named import preset
from underfire.attacks.presets.preset import Preset
from underfire.attacks.presets.settings import AttackSettings, parse_steps

__all__ = ["BUDGET", "KINDS", "AttackSettings", "Kind", "Preset", "parse_steps", "preset"]
