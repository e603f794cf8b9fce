"""The record of a run, ``run.json``: the types of its entries, which a damaged file may not have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from underfire.errors import StoreError

TYPES: Mapping[str, type] = {
    "format": int,
    "shard_size": int,
    "shards": int,
    "cells": list,
    "starts": list,
    "made": list,
}
"""The types of the entries that a resumed run reads."""


def check_types(folder: Path, record: Mapping[str, Any]) -> None:
    """Raise StoreError if an entry of ``run.json`` has another type, or is a number below 1."""
    for name, kind in TYPES.items():
        value = record.get(name)
        small = isinstance(value, int) and value < 1
        if value is not None and (not isinstance(value, kind) or small):
            expected = "a whole number from 1" if kind is int else "a list"
            raise StoreError(
                f"output folder {folder}: its run.json is damaged: {name} is {value!r:.60}; expected {expected}. Bring "
                "run.json back, or choose another folder."
            )
