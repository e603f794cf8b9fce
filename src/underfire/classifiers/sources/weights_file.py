"""Loading of a file of weights, often called a checkpoint, into a network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from underfire.classifiers.sources.torch_file import read_torch_file
from underfire.classifiers.sources.weight_sets import (
    Entry,
    WeightSet,
    find_entries,
    find_sets,
    largest_dict,
    plain,
    under,
    without_wrappers,
)
from underfire.errors import InputError, unknown_name, warn
from underfire.text import first_few

_IN_FOLDERS = (
    "model.safetensors.index.json",
    "model.safetensors",
    "pytorch_model.bin.index.json",
    "pytorch_model.bin",
)
"""Files of weights in a folder as Hugging Face's libraries write it, the preferred one first."""


def load_weights(module: nn.Module, path: Path, key: str | None = None) -> str:
    """Load the weights in ``path`` into ``module``. What training scripts add to their names is taken off.

    Weights that the network has no place for are left out, with a warning. If the file holds several sets of weights
    for the network, a warning says which one is taken.

    Args:
        path: a file of torch or safetensors, or a folder with one, in one piece or in several.
        key: the leading part of the names of the weights to take, such as ``model_ema``, or its end, if only one set
            has it; the set with the most fitting names if None.

    Returns:
        A sentence that says which weights were taken.

    Raises:
        InputError: the file cannot be read safely, holds no weights, lacks some of the network's weights, or has
            them in other shapes; or nothing has the name ``key``. The network is not changed.
    """
    own = module.state_dict()
    content = read_weights_file(path)
    entries = without_wrappers(list(find_entries(content)))
    if not entries:
        raise _no_weights(content, path)
    sets = find_sets(entries, own)
    if key is not None:
        entries, everything = under(entries, _in_full(plain(key), entries, sets)), entries
        if not entries:
            known = [found.key for found in sets if found.fits(own)] or [entry.keys[:-1] for entry in everything]
            raise unknown_name(f"weights-key of {path}", key, {name for name in known if name})
        sets = find_sets(entries, own)
    chosen = sets[0] if sets else largest_dict(entries)
    _check(chosen, own, path)
    others = [found for found in sets[1:] if found.fits(own)]
    _warn(chosen, others, path)
    module.load_state_dict(chosen.state, strict=False)
    return _described(chosen, others, path)


def _in_full(key: str, entries: list[Entry], sets: Sequence[WeightSet]) -> str:
    """Return the key of the one set whose key ends with ``key``, if no name begins with it: ``state_dict.ema``."""
    ending = [found.key for found in sets if found.key.endswith(f".{key}")]
    return ending[0] if len(ending) == 1 and not under(entries, key) else key


def read_weights_file(path: Path) -> Any:
    """Read a file or folder of weights: nested dicts and lists with tensors. Raises InputError."""
    if path.is_dir():
        found = next((path / name for name in _IN_FOLDERS if (path / name).is_file()), None)
        if found is None:
            raise InputError(f"weights folder {path} holds no weights; expected one of {', '.join(_IN_FOLDERS)}.")
        return read_weights_file(found)
    if path.name.endswith(".index.json"):
        return _read_pieces(path)
    return _read_safetensors(path) if path.suffix.lower() == ".safetensors" else read_torch_file(path)


def _read_pieces(index: Path) -> dict[str, Any]:
    """Read weights in several files, as their index lists them."""
    try:
        names = sorted({str(name) for name in json.loads(index.read_text())["weight_map"].values()})
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise InputError(f"index {index} cannot be read: {error!r}; expected JSON with a weight_map.") from error
    state: dict[str, Any] = {}
    for name in names:
        piece = index.parent / Path(name).name  # never outside the folder
        if not piece.is_file():
            raise InputError(f"weights file {piece}, one of {len(names)} that {index.name} lists, does not exist.")
        state.update(read_weights_file(piece))
    return state


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"weights file {path} cannot be read as safetensors: {error}") from error
    return state


def _no_weights(content: Any, path: Path) -> InputError:
    held = f"the keys {first_few(list(content), 5)}" if isinstance(content, dict) else type(content).__name__
    return InputError(
        f"weights file {path} holds no state dict (found {held}); expected tensors by name, alone or in a dict."
    )


def _check(chosen: WeightSet, own: Mapping[str, Tensor], path: Path) -> None:
    """Raise InputError if the weights do not fit the network."""
    _check_shapes(chosen, own, path)
    missing, left_out = chosen.missing(own), list(chosen.left_out)
    if missing:
        raise InputError(
            f"weights file {path} does not fit the network: {_listed(missing, len(own))} of the network's are missing"
            + (f", and {_listed(left_out, chosen.size)} of the file's have no place" if left_out else "")
            + ". Is it the same architecture, and are its layers called the same?"
        )


def _warn(chosen: WeightSet, others: Sequence[WeightSet], path: Path) -> None:
    """Warn of several sets of weights, and of weights without a place in the network."""
    if others:
        shown = first_few([_key(found) for found in others])
        warn(
            f"weights file {path} holds {1 + len(others)} sets of weights for this network: {_key(chosen)} is taken. "
            f"The others: {shown}. Choose with --weights-key (weights_key= in Python)."
        )
    for layer, inner in chosen.unwrapped.items():
        warn(
            f"the weights {inner} in {path} are taken for the layer {layer} of the network. There it stands in a "
            f"Sequential with modules that have no weights. If these do more than Dropout, such as a ReLU, the network "
            "needs them, too: build it like the one that was trained."
        )
    elsewhere = [f"{found.key}." for found in others if found.key]
    taken = {id(value) for found in others for value in found.state.values()}
    left_out = [
        name
        for name, value in chosen.left_out.items()
        if not _is_counter(value)
        and id(value) not in taken
        and not any(name.startswith(leading) for leading in elsewhere)
    ]
    if left_out:
        warn(
            f"{_listed(left_out, chosen.size)} of the weights in {path} have no place in the network, and are left "
            "out. If a normalisation is among them, give it with --mean and --std."
        )


def _is_counter(value: Tensor) -> bool:
    """Return True for a single whole number, such as the number of models that an average is made of."""
    return value.ndim == 0 and not value.is_floating_point()


def _described(chosen: WeightSet, others: Sequence[WeightSet], path: Path) -> str:
    leading = (
        f"the names begin with {chosen.key!r}, which is taken off" if chosen.key else "the names are the network's"
    )
    more = f"; other sets of weights in the file: {first_few([_key(found) for found in others])}" if others else ""
    return f"{path.name}: {leading}{more}"


def _key(found: WeightSet) -> str:
    return repr(found.key) if found.key else "the one without a leading name"


def _check_shapes(chosen: WeightSet, own: Mapping[str, Tensor], path: Path) -> None:
    state, wrong = chosen.state, chosen.misfits(own)
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
        f"weights file {path} has {len(wrong)} of {chosen.size} weights in other shapes than the network: "
        f"{'; '.join(first)}. It looks like another architecture."
    )


def _shape(value: Tensor) -> str:
    return " x ".join(map(str, value.shape)) or "a number"


def _listed(names: Sequence[str], count: int) -> str:
    return f"{len(names)} of {count} ({first_few(names)})"
