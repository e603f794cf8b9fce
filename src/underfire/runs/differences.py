"""The differences between two configurations, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from underfire.errors import StoreError

HASHES = {
    "data_sha256": "the images or labels of the data were changed",
    "classifier_sha256": "the classifier or its preparation was changed",
    "weights_sha256": "the weights were changed",
}
"""The meaning of hashes in ``run.json``, for messages."""


def differences(held: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the differences between two JSON objects in words, also inside nested objects."""
    changed = []
    for key in now:
        old, new = held.get(key), now[key]
        pairs = [(key, old, new)]
        if isinstance(new, dict):
            before = old if isinstance(old, dict) else {}
            pairs = [(part, before.get(part), new.get(part)) for part in new | before]
        changed += [f"{name} was {old!r}, is {new!r}" for name, old, new in pairs if old != new]
    return changed


def another_run(folder: Path, changed: Sequence[str]) -> StoreError:
    """Make the error for a folder that holds another run; ``changed`` are the differences in words."""
    meanings = [why for name, why in HASHES.items() if any(each.startswith(name) for each in changed)]
    said = f" That is: {'; '.join(meanings)}." if meanings else ""
    return StoreError(f"output folder {folder} holds another run: {'; '.join(changed)}.{said} Nothing was changed.")
