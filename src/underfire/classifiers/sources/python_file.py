"""``file.py:function``: whatever a user's own code builds."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from underfire import user_files
from underfire.classifiers.classifier import Classifier
from underfire.classifiers.sources.options import Source
from underfire.errors import ClassifierError


def build(file: str, function: str) -> Classifier | Source:
    """Call ``function`` of ``file`` without arguments, and take the classifier or network that it returns."""
    built = user_files.load(file, function, "classifier", call=True)
    if isinstance(built, Classifier):
        return built
    if not isinstance(built, nn.Module):
        raise ClassifierError(
            f"{file}:{function} returned an object of type {type(built).__name__}; expected an underfire.Classifier or "
            "an nn.Module."
        )
    return Source(built, name=f"{Path(file).stem}:{function}")
