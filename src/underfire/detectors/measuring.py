"""The scores of a detector, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from underfire.errors import UserCodeError
from underfire.system import System
from underfire.user_parts import guarded, shape_of

if TYPE_CHECKING:
    from underfire.detectors.contract import Detector, State


def measured(detector: Detector, system: System, state: State, images: Tensor) -> Tensor:
    """Compute the scores of checked images: float64 N on the CPU. Raises UserCodeError if they are no scores."""
    with torch.inference_mode(False):
        found = guarded(detector, "detector").measure(system, state, images)
    expected = isinstance(found, Tensor) and found.shape == (len(images),)
    if not expected:
        raise UserCodeError(f"detector {detector.name!r} gives {shape_of(found)}; expected one score per image.")
    scores = found.detach().cpu().double()
    if not bool(torch.isfinite(scores).all()):
        raise UserCodeError(f"detector {detector.name!r} gives NaN or infinite scores; expected finite ones.")
    return scores
