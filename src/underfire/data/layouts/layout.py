"""The description of a layout of files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from underfire.data.dataset import ImageData
from underfire.data.options import DataOptions


@dataclass(frozen=True)
class Layout:
    """A layout that is recognised by its files.

    Args:
        name: its name, for messages.
        open: opens a path, which is a folder or a file; returns None if the path has another layout. Raises DataError
            if it has this layout, but cannot be used.
        options: the names of the ``DataOptions`` that it follows.
    """

    name: str
    open: Callable[[Path, DataOptions], ImageData | None]
    options: tuple[str, ...] = ()
