"""The scores of a detector, checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from underfire.attacks.measure import Measure
from underfire.errors import UserCodeError
from underfire.system import System
from underfire.user_parts import guarded, is_own, shape_of

SOME = 4
"""At most so many images are measured again."""
NEAR = 1e-3
"""A difference of two scores of one image, relative to the spread of scores, that rounding may make."""


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


def check_alone(detector: Any, system: System, state: Mapping[str, Tensor], images: Tensor, scores: Tensor) -> None:
    """Raise UserCodeError if a detector of the user's own gives a few of the images other scores without the others."""
    if not is_own(detector):
        return
    few = max(1, min(SOME, len(images) // 2))
    alone = measured(detector, system, state, images[-few:].flip(0))
    away = float((alone - scores[-few:].flip(0)).abs().max() / (scores.max() - scores.min()).clamp(min=1e-12))
    if away > NEAR:
        raise UserCodeError(
            f"detector {detector.name!r} gives other scores for the same images in a second call (difference "
            f"{away:.2g}, relative to their spread): it depends on the other images of a batch or on the place in it, "
            "draws random numbers, or keeps state. An image must have one score."
        )


def as_measure(name: str, threshold: float, scores: Callable[[Tensor], Tensor]) -> Measure:
    """Return the score of a detector as a measure of attacks.

    Args:
        name: the detector's.
        threshold: the score above which an image counts as attacked.
        scores: gives the scores N of images N x C x H x W.
    """
    return Measure(
        name="score_" + re.sub(r"\W+", "_", name),
        per="image",
        kind="float",
        heading=name,
        meaning=f"score of the detector {name}; above {threshold:.4g} an image counts as attacked",
        better="lower",
        compute=lambda seen: scores(seen.images).float(),
    )
