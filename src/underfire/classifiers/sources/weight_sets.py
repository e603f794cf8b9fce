"""The sets of weights in a checkpoint, and their names in the network that they are for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

State = dict[str, Tensor]

WRAPPER_PARTS = ("module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Parts of names that wrappers of torch add: ``DataParallel``, ``torch.compile``, FSDP, activation checkpointing."""

_DEPTH = 6


@dataclass(frozen=True)
class Entry:
    """A tensor of a checkpoint.

    Args:
        keys: the keys of the dicts around it, each with a dot at its end; empty at the top.
        name: its key in its own dict.
        value: the tensor.
    """

    keys: str
    name: str
    value: Tensor

    @property
    def full(self) -> str:
        """All keys, joined by dots."""
        return self.keys + self.name


@dataclass(frozen=True)
class WeightSet:
    """Tensors that stand together in a checkpoint.

    Args:
        key: the leading part of their names, which is taken off; empty if there is none.
        state: the tensors under the names of the network, as far as it has them.
        left_out: tensors beside them that the network has no place for.
        size: the number of tensors beside each other.
        unwrapped: the layers of the network that are alone in a ``Sequential`` in the checkpoint: their names there, by
            their names in the network, such as ``fc.1`` by ``fc``.
    """

    key: str
    state: State
    left_out: State
    size: int
    unwrapped: Mapping[str, str] = field(default_factory=dict)

    def missing(self, own: Mapping[str, Tensor]) -> list[str]:
        """List the network's weights that are not there. Counters of batches need not be there."""
        return [name for name in own if name not in self.state and not name.endswith("num_batches_tracked")]

    def misfits(self, own: Mapping[str, Tensor]) -> list[str]:
        """List the weights that have another shape in the network."""
        return [name for name, value in self.state.items() if value.shape != own[name].shape]

    def fits(self, own: Mapping[str, Tensor]) -> bool:
        """Return True if the network can be loaded with these weights."""
        return not self.missing(own) and not self.misfits(own)


def plain(name: str) -> str:
    """Remove the parts of a name that torch's wrappers add: ``features.module.0.weight`` -> ``features.0.weight``."""
    return ".".join(part for part in name.split(".") if part not in WRAPPER_PARTS)


def find_entries(content: Any, keys: str = "", depth: int = _DEPTH) -> Iterator[Entry]:
    """Yield the tensors in nested dicts and lists. Other objects are not looked into."""
    if isinstance(content, dict):
        items: Iterable[tuple[Any, Any]] = content.items()
    elif isinstance(content, list | tuple):
        items = enumerate(content)
    else:
        return
    for key, value in items:
        if isinstance(value, Tensor) and isinstance(key, str):
            yield Entry(keys, key, value.detach())
        elif depth:
            yield from find_entries(value, f"{keys}{key}.", depth - 1)


def without_wrappers(entries: list[Entry]) -> list[Entry]:
    """Remove the parts that torch's wrappers add from all names; keep the names if two would become the same."""
    shorter = [Entry(plain(entry.keys), plain(entry.name), entry.value) for entry in entries]
    return shorter if len({entry.full for entry in shorter}) == len(entries) else entries


def under(entries: list[Entry], key: str) -> list[Entry]:
    """Return the entries whose names begin with ``key``."""
    return [entry for entry in entries if f"{entry.full}.".startswith(f"{key}.")]


def find_sets(entries: list[Entry], own: Mapping[str, Tensor]) -> list[WeightSet]:
    """Find the sets of weights for a network, the one with the most fitting weights first.

    For each leading part of the entries' names, the names without it are compared with the network's: the more of them
    fit, by name and shape, the better. Of equal ones, averages over training steps ("ema" in the name) come last, and
    the order of the file decides otherwise.

    Args:
        own: the network's state dict.
    """
    names = {plain(name): name for name in own}
    if len(names) < len(own):
        names = {name: name for name in own}
    fitting: Counter[str] = Counter()
    for entry in entries:
        for leading, rest in _splits(entry.full):
            if rest in names:
                fitting[leading] += 1 + (own[names[rest]].shape == entry.value.shape)
    sets = [_set(entries, leading, names) for leading in fitting]
    return sorted(sets, key=lambda found: (-_fit(found, own), "ema" in found.key.lower()))


def largest_dict(entries: list[Entry]) -> WeightSet:
    """Return the tensors of the dict with the most of them, as a set none of which fits."""
    keys = Counter(entry.keys for entry in entries).most_common(1)[0][0]
    state = {entry.name: entry.value for entry in entries if entry.keys == keys}
    return WeightSet(keys.rstrip("."), {}, state, len(state))


def _fit(found: WeightSet, own: Mapping[str, Tensor]) -> int:
    return 2 * len(found.state) - len(found.misfits(own))


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Yield all ways to split a name into a leading part, with the dot at its end, and the rest."""
    parts = name.split(".")
    for count in range(len(parts)):
        leading = "".join(f"{part}." for part in parts[:count])
        yield leading, name[len(leading) :]


def _set(entries: list[Entry], leading: str, names: Mapping[str, str]) -> WeightSet:
    """Collect the weights with ``leading`` before their names, and those beside them with the network's own names."""
    begin = [entry for entry in entries if entry.full.startswith(leading) and entry.full[len(leading) :] in names]
    dicts = {entry.keys for entry in begin}
    beside = [entry for entry in entries if entry.keys in dicts]
    state = {names[entry.name]: entry.value for entry in beside if entry.name in names}
    state.update({names[entry.full[len(leading) :]]: entry.value for entry in begin})
    used = {id(value) for value in state.values()}
    left_out = {_shown(entry, leading): entry.value for entry in beside if id(entry.value) not in used}
    unwrapped = _alone_in_sequential(left_out, [name for name in names if names[name] not in state])
    for layer, inner in unwrapped.items():
        for name in [name for name in left_out if name.startswith(f"{inner}.")]:
            state[names[layer + name[len(inner) :]]] = left_out.pop(name)
    return WeightSet(leading.rstrip("."), state, left_out, len(beside), unwrapped)


def _alone_in_sequential(left_out: Iterable[str], missing: Iterable[str]) -> dict[str, str]:
    """Find layers that are the only one with weights in a ``Sequential``, as in ``fc = Sequential(Dropout, Linear)``.

    Args:
        left_out: names in the checkpoint that the network does not have, such as ``fc.1.weight``.
        missing: names in the network that the checkpoint does not have, such as ``fc.weight``.

    Returns:
        The names of these layers in the checkpoint, by their names in the network.
    """
    leaves: dict[str, set[str]] = {}
    for name in missing:
        layer, _, leaf = name.rpartition(".")
        leaves.setdefault(layer, set()).add(leaf)
    found = {}
    for layer, wanted in leaves.items():
        inside = {name[len(layer) + 1 :] for name in left_out if layer and name.startswith(f"{layer}.")}
        numbers = {name.partition(".")[0] for name in inside}
        if (
            len(numbers) == 1
            and (number := numbers.pop()).isdigit()
            and inside == {f"{number}.{leaf}" for leaf in wanted}
        ):
            found[layer] = f"{layer}.{number}"
    return found


def _shown(entry: Entry, leading: str) -> str:
    return entry.full[len(leading) :] if entry.full.startswith(leading) else entry.name
