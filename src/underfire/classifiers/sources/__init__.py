"""Where classifiers come from: one module per source, all of them behind ``load``."""

from __future__ import annotations

from underfire.classifiers.sources.loading import load
from underfire.classifiers.sources.options import Options, parse_size, parse_values
from underfire.classifiers.sources.shipped import names

__all__ = ["Options", "load", "names", "parse_size", "parse_values"]
