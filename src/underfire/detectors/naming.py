"""Names of fitted detectors that are looked at together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from underfire.detectors.contract import FittedDetector
from underfire.errors import InputError

WAYS: tuple[Callable[[FittedDetector], str], ...] = (
    lambda fitted: "+".join(fitted.system.interpreters),
    lambda fitted: fitted.folder,
    lambda fitted: fitted.digest,
)
"""If several detectors have one name, the first of these texts that differs for all of them is added to it."""


def told_apart(detectors: Sequence[FittedDetector]) -> list[FittedDetector]:
    """Return the detectors with names that differ. A name that only one of them has stays as it is.

    Detectors of one name get the names of their interpreters behind it, as in ``map-stability (cam)``; or else the
    names of their folders, or their digests.

    Raises:
        InputError: a detector is given twice.
    """
    groups: dict[str, list[FittedDetector]] = {}
    for each in detectors:
        groups.setdefault(each.name, []).append(each)
    names: dict[int, str] = {}
    for name, group in groups.items():
        digests = [each.digest for each in group] if len(group) > 1 else []
        twice = next((each for each in digests if digests.count(each) > 1), None)
        if twice is not None:
            raise InputError(
                f"detectors holds detector {name} with the digest {twice} twice; expected it once. Was one folder "
                "given twice, or a copy of it?"
            )
        if digests:
            found = next(found for way in WAYS if (found := _told(way, group)))
            names |= {id(each): f"{name} ({told})" for each, told in zip(group, found, strict=True)}
    return [dataclasses.replace(each, label=names[id(each)]) if id(each) in names else each for each in detectors]


def _told(way: Callable[[FittedDetector], str], group: Sequence[FittedDetector]) -> list[str]:
    """Return what tells detectors apart; empty if it does not tell all of them."""
    found = [way(each) for each in group]
    return found if all(found) and len(set(found)) == len(found) else []
