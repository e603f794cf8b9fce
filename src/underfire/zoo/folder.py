"""The folder of a training: its checkpoint, and the record of what is being trained on what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from underfire.errors import StoreError

CHECKPOINT, RECORD = "checkpoint.pt", "training.json"


def open_folder(folder: Path, run: Mapping[str, Any], resume: bool) -> None:
    """Make the folder, and check that a checkpoint in it is that of the training that ``run`` describes.

    Raises:
        StoreError: the folder cannot be made; it holds a checkpoint, and ``resume`` is not given or it is another's.
    """
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"output folder {folder} is a file; give a folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"output folder {folder} cannot be written: {error.strerror or error}.") from error
    if not (folder / CHECKPOINT).exists():
        return
    if not resume:
        raise StoreError(f"{folder} holds a checkpoint: give --resume to go on from it, or another folder.")
    try:
        then = json.loads((folder / RECORD).read_text())
        torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return  # written before there were records: what training makes of it must do
    except Exception as error:  # of a broken file, torch.load raises nearly anything
        raise StoreError(f"the checkpoint in {folder} cannot be read: {error}. Choose another folder.") from error
    changed = [f"{key} was {then.get(key)!r}, is {now!r}" for key, now in run.items() if then.get(key) != now]
    if changed:
        raise StoreError(
            f"{folder} holds the checkpoint of another training: {'; '.join(changed)}. Nothing was changed."
        )


def record(folder: Path, run: Mapping[str, Any]) -> None:
    """Note what is being trained, as JSON values."""
    write_text(folder / RECORD, json.dumps(run, indent=2) + "\n")


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Replace the checkpoint at once: whenever the process dies, a whole one is there. Raises StoreError."""
    part = folder / "checkpoint.part"
    try:
        torch.save(dict(state), part)
        part.replace(folder / CHECKPOINT)
    except (OSError, RuntimeError) as error:  # of a full disk, torch.save raises either
        raise StoreError(f"the checkpoint in {folder} cannot be written: {error}. The one before it stays.") from error


def load_checkpoint(folder: Path, device: str | torch.device) -> dict[str, Any] | None:
    """The checkpoint with its tensors on ``device``; None where there is none."""
    if not (folder / CHECKPOINT).exists():
        return None
    saved: dict[str, Any] = torch.load(folder / CHECKPOINT, map_location=device, weights_only=True)
    return saved


def write_text(path: Path, text: str) -> None:
    """Write a file of the folder. Raises StoreError where that fails."""
    try:
        path.write_text(text)
    except OSError as error:
        raise StoreError(f"output folder {path.parent} cannot be written: {error.strerror or error}.") from error
