"""Limits: how near its target a map must be to count as kept, or as reached. Joint success is decided by them.

Limits depend on all images of an experiment, so they are settled when results are read, never while images are
attacked. A call in Python and a run on disk use the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch

from underfire import metrics

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

WHY_KEPT = "95th percentile of the noise control's map distance"
WHY_REACHED = "half of the benign map's distance to the target map, image by image; the mean of these"


def limits(noise: Numbers, to_target: Numbers, correct: Flags, keeps_benign: bool) -> Numbers:
    """Compute the limit of each image for one interpreter, N.

    If the wanted map is the benign one, it is the 95th percentile of the distances that random noise causes on images
    that were classified correctly. For another wanted map, it is half of the benign map's distance to it.

    Args:
        noise: N distances (``map_l1``) under the noise control.
        to_target: N distances (``map_l1_target``) of the benign maps.
        correct: bool N, images that were classified correctly.
    """
    if keeps_benign:
        known = torch.from_numpy(np.ascontiguousarray(noise[correct]))
        return np.full(len(noise), metrics.noise_threshold(known))
    return metrics.HALFWAY * to_target


def joint_success(success: Flags, correct: Flags, distance: Numbers, limit: Numbers) -> Flags:
    """Decide joint success, bool N: correct before, class reached, and map nearer to its target than the limit."""
    found: Flags = success & correct & (distance < limit)
    return found


def all_at_once(found: Mapping[str, Flags]) -> Flags:
    """Decide joint success of all interpreters at once, bool N."""
    together: Flags = np.logical_and.reduce(list(found.values()))
    return together
