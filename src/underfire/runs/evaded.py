"""The fitted detectors that a run's attacks evade, copied into the run's folder while the run is worked on.

Whoever makes the run's shards sees its folder: another process, or another machine, on which the detectors lie nowhere
else.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from underfire.attacks.evading import RECORD
from underfire.runs.disk import replace, writing
from underfire.runs.store import Store

EVADED = "evaded"
"""The folder in a run's folder, with one numbered folder for each detector."""

FILES = ("detector.safetensors", RECORD)
"""The files of a detector, in the order in which they are copied: the last one tells that it is whole."""


def keep_detectors(store: Store, folders: Sequence[Path]) -> None:
    """Copy fitted detectors into a run's folder. The run's record has their hashes.

    Args:
        store: the run's folder, which is begun.
        folders: of the detectors.

    Raises:
        StoreError: the folder cannot be written.
    """
    with writing(store.folder):
        for folder, place in zip(folders, _places(store, folders), strict=True):
            place.mkdir(parents=True, exist_ok=True)
            for name in FILES:
                replace(place / name, partial(shutil.copyfile, folder / name))


def kept_detectors(store: Store, folders: Sequence[Path]) -> tuple[Path, ...]:
    """Return where the detectors of a begun run are: in its folder, or else in the folders that its settings name.

    An earlier version of underfire kept no detectors.
    """
    places = _places(store, folders)
    return tuple(place if (place / RECORD).is_file() else folder for place, folder in zip(places, folders, strict=True))


def drop_detectors(store: Store) -> None:
    """Remove the copies from the folder of a run whose shards are all there."""
    shutil.rmtree(store.folder / EVADED, ignore_errors=True)


def _places(store: Store, folders: Sequence[Path]) -> list[Path]:
    return [store.folder / EVADED / str(number) for number in range(len(folders))]
