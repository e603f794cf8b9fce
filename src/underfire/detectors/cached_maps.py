"""A system that computes the maps of an image once, however often they are asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from underfire import randomness
from underfire.system import System

Cache = dict[tuple[str, int, int, bytes], Tensor]
"""Maps h x w on the CPU by interpreter, class, identity of the image for random numbers, and hash of its pixels."""


class CachedMaps(System):
    """A system that keeps the maps that it has computed.

    A map is used again for the same interpreter, class and pixels, and the same identity, which random numbers are
    drawn by. So it is the map that would be computed again, also for interpreters with random numbers.

    Args:
        system: the system that computes maps.
        cache: the maps that are there; an empty one if None. Systems may share one if their classifier is the same and
            a name stands for the same interpreter in all of them.
    """

    def __init__(self, system: System, cache: Cache | None = None) -> None:
        vars(self).update(vars(system))
        self._system = system
        self._cache: Cache = {} if cache is None else cache

    def maps(self, images: Tensor, classes: Tensor, ids: Tensor | Sequence[str] | None = None) -> dict[str, Tensor]:
        """Read the maps N x h x w of every interpreter; only those that are not in the cache are computed."""
        numbers = randomness.identities(images, ids)
        rows = images.detach().cpu().flatten(1).contiguous().numpy()
        pixels = [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows]
        known = list(zip(classes.tolist(), numbers.tolist(), pixels, strict=True))
        return {name: self._maps(name, images, classes, numbers, known) for name in self.interpreters}

    def _maps(
        self, name: str, images: Tensor, classes: Tensor, ids: Tensor, known: Sequence[tuple[int, int, bytes]]
    ) -> Tensor:
        new = [place for place, key in enumerate(known) if (name, *key) not in self._cache]
        if new:
            found = self._system.only((name,)).maps(images[new], classes[new], ids[new])[name].cpu()
            self._cache |= {(name, *known[place]): each for place, each in zip(new, found, strict=True)}
        return torch.stack([self._cache[name, *key] for key in known]).to(images.device)

    def only(self, names: Collection[str]) -> System:
        """Return the system with only the interpreters of these names, and the same cache."""
        return CachedMaps(self._system.only(names), self._cache)

    def reseeded(self, offset: int = 1) -> System | None:
        """Return the system with other random numbers, and a cache of its own; None if no interpreter draws any."""
        again = self._system.reseeded(offset)
        return None if again is None else CachedMaps(again)
