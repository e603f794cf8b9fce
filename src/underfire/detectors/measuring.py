"""The scores of a detector, checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from underfire.errors import UserCodeError
from underfire.system import System
from underfire.user_parts import guarded, shape_of


def measured(detector: Any, system: System, state: Mapping[str, Tensor], images: Tensor) -> Tensor:
    """Compute a detector's scores of checked images, float64 N on the CPU. Raises UserCodeError if they are none."""
    with torch.inference_mode(False):
        found = guarded(detector, "detector").measure(system, state, images)
    expected = isinstance(found, Tensor) and found.shape == (len(images),)
    if not expected:
        raise UserCodeError(f"detector {detector.name!r} gives {shape_of(found)}; expected one score per image.")
    scores: Tensor = found.detach().cpu().double()
    if not bool(torch.isfinite(scores).all()):
        raise UserCodeError(f"detector {detector.name!r} gives NaN or infinite scores; expected finite ones.")
    return scores
