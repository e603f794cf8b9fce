"""Loading of a file of weights, often called a checkpoint, into a network."""

from __future__ import annotations

import tarfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from underfire.errors import InputError, UnderfireWarning
from underfire.text import first_few

# Keys under which training scripts store the state dict, and prefixes that wrappers add to its names.
_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "state_dict_ema", "model_ema")
_PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "network.", "backbone.", "encoder.", "_model.", "0.", "1.")

State = dict[str, Tensor]


def load_weights(module: nn.Module, path: Path) -> None:
    """Load the state dict in ``path`` into ``module``. Keys and prefixes that training scripts add are removed.

    Weights that the network has no place for are left out, with a warning.

    Raises:
        InputError: the file cannot be read safely, holds no state dict, lacks some of the network's weights, or has
            them in other shapes. The network is not changed.
    """
    own = module.state_dict()
    state = _fitting(read_state(path), own)
    _check_shapes(state, own, path)
    missing = [name for name in own if name not in state and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in state if name not in own]
    if missing:
        raise InputError(
            f"weights file {path} does not fit the network: {_listed(missing, len(own))} of the network's are missing"
            + (f", and {_listed(unexpected, len(state))} of the file's have no place" if unexpected else "")
            + ". Is it the same architecture, and are its layers called the same?"
        )
    if unexpected:
        warnings.warn(
            f"{_listed(unexpected, len(state))} of the weights in {path} have no place in the network, and are left "
            "out. If a normalisation is among them, give it with --mean and --std.",
            UnderfireWarning,
            stacklevel=4,
        )
    module.load_state_dict({name: value for name, value in state.items() if name in own}, strict=False)


def read_state(path: Path) -> State:
    """Read the tensors by name in a ``.safetensors`` file, or in a file that torch can read without running code."""
    if path.suffix.lower() == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            state: State = load_file(path)
        except (SafetensorError, OSError) as error:
            raise InputError(f"weights file {path} cannot be read as safetensors: {error}") from error
        return state
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises UnpicklingError, RuntimeError, EOFError, ... by what is broken
        if not _may_be_torchs(path):
            raise InputError(
                f"weights file {path} is not a PyTorch or safetensors file. Expected what torch.save(network.state_dict"
                "(), FILE) writes, or a .safetensors file. Was it cut short, or is it a text that points to the file?"
            ) from error
        why = " ".join(str(error).split())
        unsafe = type(error).__name__ == "UnpicklingError"  # a class of pickle, which this package never imports
        raise InputError(
            f"weights file {path} "
            + (
                "holds more than tensors (a whole pickled network, or objects of the training script), which would run "
                "code when read. Save the state dict alone: torch.save(network.state_dict(), FILE)."
                if unsafe
                else f"cannot be read: {why[:200]}"
            )
        ) from error
    return _unwrapped(content, path)


def _may_be_torchs(path: Path) -> bool:
    """Return True if a file begins like one of torch: a zip archive or a pickle, or a tar archive before 2018."""
    with path.open("rb") as file:
        start = file.read(2)
    return start == b"PK" or start[:1] == b"\x80" or tarfile.is_tarfile(path)


def _unwrapped(content: Any, path: Path) -> State:
    while isinstance(content, Mapping):
        tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
        inner = [key for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
        if not inner and tensors:
            return tensors
        if not inner:
            break
        content = content[inner[0]]
    held = type(content).__name__
    if isinstance(content, Mapping):
        held = f"the keys {first_few(list(content), 5)}"
    raise InputError(
        f"weights file {path} holds no state dict (found {held}); expected tensors by name, alone or under one of "
        f"{', '.join(_WRAPPERS)}."
    )


def _fitting(state: State, own: Mapping[str, Tensor]) -> State:
    """Remove prefixes of wrappers, so that as many names as possible are those of the network."""
    best, known = state, sum(name in own for name in state)
    tried = [state]
    for candidate in tried:  # the list grows during the loop, because prefixes may be nested
        for prefix in _PREFIXES:
            if any(name.startswith(prefix) for name in candidate):
                # Tensors without the prefix stay, but must not replace a weight that has it.
                others = {name: value for name, value in candidate.items() if not name.startswith(prefix)}
                stripped = {n.removeprefix(prefix): v for n, v in candidate.items() if n.startswith(prefix)}
                tried.append({**others, **stripped})
                fits = sum(name in own for name in tried[-1])
                if fits > known:
                    best, known = tried[-1], fits
        if len(tried) > 40:
            break
    return best


def _check_shapes(state: State, own: Mapping[str, Tensor], path: Path) -> None:
    wrong = [name for name, value in state.items() if name in own and value.shape != own[name].shape]
    if not wrong:
        return
    first = [f"{name} is {_shape(state[name])}, expected {_shape(own[name])}" for name in wrong[:3]]
    counts = {(state[name].shape[0], own[name].shape[0]) for name in wrong if state[name].ndim and own[name].ndim}
    heads = all(state[name].shape[1:] == own[name].shape[1:] for name in wrong)
    if heads and len(counts) == 1 and len(wrong) <= 4:
        there, here = counts.pop()
        raise InputError(
            f"weights file {path} is for {there} classes, and the network has {here} ({first[0]}): give --classes "
            f"{there}, or have your file.py:function build it with {there}."
        )
    raise InputError(
        f"weights file {path} has {len(wrong)} of {len(state)} weights in other shapes than the network: "
        f"{'; '.join(first)}. It looks like another architecture."
    )


def _shape(value: Tensor) -> str:
    return " x ".join(map(str, value.shape)) or "a number"


def _listed(names: Sequence[str], count: int) -> str:
    return f"{len(names)} of {count} ({first_few(names)})"
