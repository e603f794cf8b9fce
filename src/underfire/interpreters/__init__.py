"""Interpreters: attribution maps for a classifier's decision, and the views that attacks differentiate."""

from __future__ import annotations

from collections.abc import Callable

from underfire.errors import unknown_name
from underfire.interpreters.base import Interpreter, State, View
from underfire.interpreters.cam import CAM, GradCAM
from underfire.interpreters.grad import Grad
from underfire.interpreters.mask import MASK
from underfire.interpreters.mask_settings import Scaled
from underfire.interpreters.smoothing import Smoothing, SmoothRectifiers

REGISTRY: dict[str, Callable[[], Interpreter]] = {"cam": CAM, "grad": Grad, "gradcam": GradCAM, "mask": MASK}

# As the published experiments had them, where that is not our default.
PUBLISHED: dict[str, Callable[[], Interpreter]] = {"grad": lambda: Grad(view_pixels="normalised")}


def create(name: str, variant: str = "paper") -> Interpreter:
    """The interpreter called ``name`` (``cam``, ``grad``, ``gradcam``, ``mask``; any case) with its default parameters,
    or with those of the published experiments where ``variant`` is ``published``."""
    key = name.lower().replace("-", "").replace("_", "")
    if key not in REGISTRY:
        raise unknown_name("interpreter", name, REGISTRY)
    if variant not in ("paper", "published"):
        raise unknown_name("preset variant", variant, ("paper", "published"))
    return ((PUBLISHED if variant == "published" else {}).get(key) or REGISTRY[key])()


__all__ = [
    "CAM",
    "MASK",
    "PUBLISHED",
    "REGISTRY",
    "Grad",
    "GradCAM",
    "Interpreter",
    "Scaled",
    "SmoothRectifiers",
    "Smoothing",
    "State",
    "View",
    "create",
]
