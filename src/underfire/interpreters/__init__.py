"""Interpreters: attribution maps for a classifier's decision, and the views that attacks differentiate."""

from __future__ import annotations

from collections.abc import Callable

from underfire.errors import unknown_name
from underfire.interpreters.base import Interpreter, State, View
from underfire.interpreters.cam import CAM, GradCAM
from underfire.interpreters.grad import Grad
from underfire.interpreters.smoothing import Smoothing, SmoothRectifiers

REGISTRY: dict[str, Callable[[], Interpreter]] = {"cam": CAM, "grad": Grad, "gradcam": GradCAM}


def create(name: str) -> Interpreter:
    """The interpreter called ``name`` with its default parameters (``cam``, ``grad``, ``gradcam``; any case)."""
    key = name.lower().replace("-", "").replace("_", "")
    if key not in REGISTRY:
        raise unknown_name("interpreter", name, REGISTRY)
    return REGISTRY[key]()


__all__ = [
    "CAM",
    "REGISTRY",
    "Grad",
    "GradCAM",
    "Interpreter",
    "SmoothRectifiers",
    "Smoothing",
    "State",
    "View",
    "create",
]
