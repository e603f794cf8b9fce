"""The attacks of the papers, as rows of tables.

A preset is a function of the system, since the published schedules depend on the interpreter: gradient-type
interpreters take Grad's row, activation-type ones CAM's. With several, each keeps its weight and the longest schedule
counts.
"""

from __future__ import annotations

from underfire.attacks.presets.building import KINDS
from underfire.attacks.presets.preset import Preset, preset
from underfire.attacks.presets.rows import ALPHA, ROWS, Row
from underfire.attacks.presets.variants import VARIANTS, Variant

__all__ = ["ALPHA", "KINDS", "ROWS", "VARIANTS", "Preset", "Row", "Variant", "preset"]
