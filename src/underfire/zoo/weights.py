"""The trained weights that ship with the package: reading them, and writing a pair of weights and model card."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import Tensor, nn

from underfire.zoo.recipes import Recipe

FOLDER = Path(__file__).parent / "weights"


def path(name: str) -> Path:
    """Where the weights of the classifier called ``name`` lie, present or not."""
    return FOLDER / f"{name}.safetensors"


def read(recipe: Recipe) -> dict[str, Tensor]:
    """The shipped weights of ``recipe`` as a state dict."""
    from safetensors.torch import load_file

    state: dict[str, Tensor] = load_file(path(recipe.name))
    return state


def write(network: nn.Module, file: Path, note: str) -> None:
    """Write ``network``'s state dict to ``file`` as safetensors, with ``note`` in its header.

    One note, not several: safetensors writes them in no fixed order, and equal networks are to be equal files.
    """
    from safetensors.torch import save_file

    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, file, {"made_by": note})


def state_hash(module: nn.Module) -> str:
    """SHA-256 over the names, shapes and values of a network's parameters and buffers."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
