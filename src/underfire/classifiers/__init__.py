"""Classifiers: pixels in [0, 1] -> logits, from any PyTorch network."""

from __future__ import annotations

from underfire.classifiers.classifier import Classifier
from underfire.classifiers.pixels import Later, Recorded
from underfire.classifiers.prepared import Prepared
from underfire.classifiers.sources import load

__all__ = ["Classifier", "Later", "Prepared", "Recorded", "load"]
