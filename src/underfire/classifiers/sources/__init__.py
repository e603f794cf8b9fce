"""Sources of classifiers: one module per source, all behind ``load``."""

from __future__ import annotations

from underfire.classifiers.sources.loading import SOURCES, load
from underfire.classifiers.sources.options import Options, Source, parse_size, parse_values
from underfire.classifiers.sources.shipped import names

__all__ = ["SOURCES", "Options", "Source", "load", "names", "parse_size", "parse_values"]
