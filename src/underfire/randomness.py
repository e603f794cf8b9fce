"""Random numbers for each image that do not depend on its batch, shard or worker.

A counter-based generator: each number is a hash of (seed, image, purpose, step, position). So there is no state to
store, and a resumed run continues with the same numbers. The mixing function is that of SplitMix64 (Steele et al.
2014), in 64-bit integers with wrap-around, the same on every device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from underfire.errors import InputError

_GAMMA = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed integer; so are the two multipliers below
_FIRST, _SECOND = -4658895280553007687, -7723592293110705685


def _shift(values: Tensor, bits: int) -> Tensor:
    """Shift int64 to the right without the sign (a logical shift)."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)


def _mix(values: Tensor) -> Tensor:
    values = (values ^ _shift(values, 30)) * _FIRST
    values = (values ^ _shift(values, 27)) * _SECOND
    return values ^ _shift(values, 31)


def number_of(text: str) -> int:
    """Return the hash of a text, a signed integer of 64 bits."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def bits(seed: int, ids: Tensor, purpose: str, step: int | Tensor, count: int) -> Tensor:
    """Return random 64-bit integers for each image: int64 N x ``count``.

    Args:
        seed: the seed of the run.
        ids: the identity of each image, int64 N, see ``identify``.
        purpose: a name; different purposes get different numbers.
        step: the step, one for all images or one per image (int64 N); different steps get different numbers.
        count: the number of integers per image.
    """
    if isinstance(step, Tensor):
        key = _mix(_mix(ids ^ number_of(f"{seed}/{purpose}")) + step * _GAMMA).unsqueeze(1)
    else:
        key = _mix(ids ^ number_of(f"{seed}/{purpose}/{step}")).unsqueeze(1)
    counter = torch.arange(1, count + 1, device=ids.device) * _GAMMA
    return _mix(key + counter)


def uniform(seed: int, ids: Tensor, purpose: str, step: int | Tensor, shape: Sequence[int]) -> Tensor:
    """Return uniform numbers in [0, 1), multiples of 2**-24: float32 N x ``shape``. Arguments as in ``bits``."""
    count = 1
    for side in shape:
        count *= side
    return _shift(bits(seed, ids, purpose, step, count), 40).float().mul_(2**-24).view(len(ids), *shape)


def integers(
    seed: int, ids: Tensor, purpose: str, step: int | Tensor, shape: Sequence[int], high: Tensor | int
) -> Tensor:
    """Return uniform integers in 0..high-1: int64 N x ``shape``. Arguments as in ``bits``.

    ``high`` is at most 2**24: one number for all images, or one number per image.
    """
    if isinstance(high, Tensor):
        high = high.view(-1, *([1] * len(shape)))
    drawn = uniform(seed, ids, purpose, step, shape).double() * high
    return drawn.long()


def identify(images: Tensor, names: Sequence[str] | None = None) -> Tensor:
    """Return the identity of each image, a hash of its name or of its 8-bit pixels: int64 N.

    Args:
        images: N x C x H x W in [0, 1].
        names: N stable names; if None, the pixels are used.
    """
    if names is not None:
        return torch.tensor([number_of(name) for name in names], dtype=torch.int64, device=images.device)
    levels = images.detach().mul(255).round().to(torch.uint8).cpu().flatten(1).numpy()
    hashes = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in levels]
    numbers = [int.from_bytes(value, "little", signed=True) for value in hashes]
    return torch.tensor(numbers, dtype=torch.int64, device=images.device)


def identities(images: Tensor, ids: Tensor | Sequence[str] | None) -> Tensor:
    """Convert ``ids`` to int64 N: hashes of names, integers as they are; if None, hashes of the images' pixels."""
    if isinstance(ids, str | Mapping) or not (ids is None or isinstance(ids, Sized)):
        raise InputError(f"ids is {ids!r:.80}; expected a list with a name (a string) or an integer per image.")
    if ids is not None and len(ids) != len(images):
        raise InputError(f"ids has {len(ids)} names for {len(images)} images; expected one per image.")
    if ids is None or all(isinstance(name, str) for name in ids):
        return identify(images, None if ids is None else list(ids))
    try:
        numbers = torch.as_tensor(ids)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"ids holds {ids[0]!r:.80}; expected a name (a string) or an integer per image.") from error
    if numbers.ndim != 1 or numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool:
        raise InputError(f"ids is a tensor of {numbers.dtype}; expected a name (a string) or an integer per image.")
    return numbers.long()


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the global random numbers of torch and numpy in this context, for other libraries; then restore them."""
    state = np.random.get_state()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed % 2**63)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            np.random.set_state(state)
