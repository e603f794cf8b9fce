"""A fitted detector on disk: a folder with a JSON file and a file of tensors, which run no code when they are read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from underfire.errors import StoreError
from underfire.files import replacing, write_text

FORMAT = 1
"""The version of the folder's format."""

RECORD, TENSORS = "detector.json", "detector.safetensors"


def write_folder(folder: Path, record: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write the folder of a fitted detector; an earlier detector in it is replaced.

    Args:
        record: JSON values.
        tensors: everything that the detector has learnt.

    Raises:
        StoreError: the folder holds other files, or cannot be written.
    """
    check_folder(folder, overwrite=True)
    content = packed(tensors)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_written(folder, error) from error
    with replacing(folder / TENSORS) as part:
        part.write_bytes(content)
    held = {"format": FORMAT, **record, "tensors_sha256": hashlib.sha256(content).hexdigest()}
    write_text(folder / RECORD, json.dumps(held, indent=1) + "\n")


def check_folder(folder: Path, *, overwrite: bool) -> None:
    """Check that a detector may be written to a folder, which need not be there.

    Args:
        overwrite: let the folder hold an earlier detector.

    Raises:
        StoreError: the folder holds other files, or a detector, or cannot be written.
    """
    try:
        others = [path.name for path in folder.iterdir() if path.name not in (RECORD, TENSORS)]
    except FileNotFoundError:
        return
    except OSError as error:
        raise _not_written(folder, error) from error
    if others:
        raise StoreError(f"detector folder {folder} holds other files, such as {others[0]}: choose another folder.")
    if not overwrite and (folder / RECORD).exists():
        raise StoreError(
            f"the folder {folder} holds a detector already: choose another folder, or replace it with --overwrite."
        )


def _not_written(folder: Path, error: OSError) -> StoreError:
    return StoreError(f"detector folder {folder} cannot be written: {error.strerror or error}.")


def packed(tensors: Mapping[str, Tensor]) -> bytes:
    """Write tensors as the content of a safetensors file: equal tensors give equal bytes."""
    from safetensors.torch import save

    content: bytes = save({name: tensors[name].detach().cpu().contiguous() for name in sorted(tensors)})
    return content


def read_folder(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read the folder of a fitted detector: its record and its tensors.

    Raises:
        StoreError: there is no detector, a later version of underfire wrote it, or its files are damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = folder / RECORD
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        content = (folder / TENSORS).read_bytes()
        tensors: dict[str, Tensor] = load(content)
    except FileNotFoundError as error:
        raise StoreError(
            f"{folder} holds no detector: {Path(str(error.filename)).name} is missing. Expected a folder that "
            "'underfire detect fit' wrote."
        ) from error
    except (OSError, ValueError, SafetensorError) as error:
        raise StoreError(f"the detector in {folder} cannot be read: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get("format"), int):
        raise StoreError(f"{path} is damaged: it does not say its format. Fit the detector again.")
    if record["format"] > FORMAT:
        raise StoreError(
            f"the detector in {folder} has folder format {record['format']}, and this version of underfire reads "
            f"formats up to {FORMAT}: update underfire."
        )
    if record.get("tensors_sha256") != hashlib.sha256(content).hexdigest():
        raise StoreError(f"{folder / TENSORS} is damaged: it is not the file that {RECORD} belongs to. Fit it again.")
    return record, tensors


def plain_settings(detector: Any) -> dict[str, Any]:
    """Return the settings of a detector, the fields of a dataclass, as JSON values."""
    found = {each.name: getattr(detector, each.name) for each in dataclasses.fields(detector)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}
