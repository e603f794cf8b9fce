"""An attack that asks and takes no gradient: ``candidates`` makes the images that are tried."""

from __future__ import annotations

from underfire.attacks.square.attack import QUERIES, Square, is_plain
from underfire.attacks.square.candidates import candidate, whole_levels

__all__ = ["QUERIES", "Square", "candidate", "is_plain", "whole_levels"]
