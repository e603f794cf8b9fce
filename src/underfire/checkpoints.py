"""Files of weights: safetensors, the checkpoint and the record of a training, and hashes of networks."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from underfire.errors import StoreError
from underfire.files import make_folder, replacing, write_text

CHECKPOINT, RECORD = "checkpoint.pt", "training.json"
OTHERS = {
    "run.json": "a run",
    "campaign.json": "a campaign",
    "audit.json": "an audit",
    "detector.json": "a fitted detector",
}
"""The records of what else folders can hold."""


def state_hash(module: nn.Module) -> str:
    """Compute the SHA-256 over names, shapes, dtypes and values of a network's parameters and buffers.

    Only tensors in ``state_dict()`` count. Results store this hash as ``weights_sha256``.
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def write_weights(network: nn.Module, path: Path, note: str) -> None:
    """Write the state dict of ``network`` as safetensors, with ``note`` under the key ``made_by`` of its header.

    The header gets this one key only: safetensors writes several keys in no fixed order, and equal networks must give
    equal files.

    Raises:
        StoreError: the file cannot be written.
    """
    from safetensors.torch import save

    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    with replacing(path) as part:
        part.write_bytes(save(state, {"made_by": note}))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file as a state dict, on the CPU."""
    from safetensors.torch import load_file

    state: dict[str, Tensor] = load_file(path)
    return state


def open_training(folder: Path, run: Mapping[str, Any], resume: bool) -> None:
    """Create the folder of a training and record what is trained, or check that its checkpoint may be continued.

    Args:
        folder: the output folder; it may exist.
        run: everything that the training depends on, as JSON values. It is written beside the checkpoint.
        resume: continue from a checkpoint in the folder.

    Raises:
        StoreError: the folder cannot be created, or holds something else, such as a run; or it holds a checkpoint, and
            either ``resume`` is False or the checkpoint belongs to another training.
    """
    make_folder(folder)
    for name, what in OTHERS.items():
        if (folder / name).exists():
            raise StoreError(f"{folder} holds {what} ({name}); expected a folder of the training's own.")
    if (folder / CHECKPOINT).exists():
        _check_same_training(folder, run, resume)
    write_text(folder / RECORD, json.dumps(run, indent=2) + "\n")


def _check_same_training(folder: Path, run: Mapping[str, Any], resume: bool) -> None:
    if not resume:
        raise StoreError(f"{folder} holds a checkpoint: give --resume to go on from it, or another folder.")
    try:
        before = json.loads((folder / RECORD).read_text())
        load_checkpoint(folder, "cpu")
    except Exception as error:  # torch.load raises nearly any exception for a broken file
        raise StoreError(f"the checkpoint in {folder} cannot be read: {error}. Choose another folder.") from error
    changed = [
        text for key, now in run.items() if before.get(key) != now for text in _changes(key, before.get(key), now)
    ]
    if changed:
        raise StoreError(
            f"{folder} holds the checkpoint of another training: {'; '.join(changed)}. Nothing was changed."
        )


def _changes(key: str, before: Any, now: Any) -> list[str]:
    """Say how a value changed; of a recipe, ``Name(steps=5, ...)``, only the settings that did."""
    old, new = _settings(before), _settings(now)
    names = [name for name in old if old[name] != new.get(name)]
    if not names or old.keys() != new.keys():
        return [f"{key} was {before!r}, is {now!r}"]
    return [f"{name} was {old[name]}, is {new[name]}" for name in names]


def _settings(value: Any) -> dict[str | None, str]:
    """Read the arguments of a call from its text; empty if it is none."""
    try:
        call = ast.parse(value, mode="eval").body if isinstance(value, str) else None
    except (SyntaxError, ValueError):
        return {}
    return {each.arg: ast.unparse(each.value) for each in call.keywords} if isinstance(call, ast.Call) else {}


def save_checkpoint(folder: Path, state: Mapping[str, Any]) -> None:
    """Replace the checkpoint in one step, so that a process that is killed leaves a complete one. Raises StoreError."""
    with replacing(folder / CHECKPOINT) as part, part.open("wb") as file:
        torch.save(dict(state), file)


def load_checkpoint(folder: Path, device: str | torch.device) -> dict[str, Any] | None:
    """Read the checkpoint, with its tensors on ``device``; None if there is none."""
    if not (folder / CHECKPOINT).exists():
        return None
    saved: dict[str, Any] = torch.load(folder / CHECKPOINT, map_location=device, weights_only=True)
    return saved
