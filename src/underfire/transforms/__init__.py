"""Transforms of images: pure functions on tensors, without state and without randomness."""

from __future__ import annotations

from underfire.transforms.edges import sobel
from underfire.transforms.warp import warp

__all__ = ["sobel", "warp"]
