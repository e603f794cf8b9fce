"""Transforms of images, such as edges, warping and squeezers; pure functions of the image and a seed."""

from __future__ import annotations

from underfire.transforms.edges import sobel
from underfire.transforms.warp import warp

__all__ = ["sobel", "warp"]
