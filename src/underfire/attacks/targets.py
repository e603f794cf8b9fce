"""Which class an attack wants: rules that give each image its target class."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire import randomness
from underfire.attacks.benign import Benign
from underfire.errors import InputError

_TRIES = 64
"""Classes that an image draws at once, until one is among those that it may have."""


class ClassRule(ABC):
    """Gives each image a class other than its own."""

    name: ClassVar[str]

    @abstractmethod
    def classes(self, benign: Benign, seed: int) -> Tensor:
        """int64 N."""


@dataclass(frozen=True)
class RandomClass(ClassRule):
    """Any other class, all equally likely, drawn from the seed and the image.

    ``among``: the classes that may be drawn, where not all. An image draws until it has one of these, so that it keeps
    its class where classes are left out that it would not have got.
    """

    name: ClassVar[str] = "random"

    among: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.among is not None:
            object.__setattr__(self, "among", tuple(sorted({int(number) for number in self.among})))

    def classes(self, benign: Benign, seed: int) -> Tensor:
        labels, known = benign.labels, benign.logits.shape[1]
        allowed = self._allowed(known, labels)
        drawn = torch.full_like(labels, -1)
        for step in itertools.count():
            tries = randomness.integers(seed, benign.ids, "target class", step, (_TRIES,), known - 1)
            tries = tries + (tries >= labels.unsqueeze(1)).long()
            fits = allowed[tries]
            first = tries.gather(1, fits.long().argmax(1, keepdim=True)).squeeze(1)
            drawn = torch.where((drawn < 0) & fits.any(1), first, drawn)
            if bool((drawn >= 0).all()):
                break
        return drawn

    def _allowed(self, known: int, labels: Tensor) -> Tensor:
        """bool K. Raises InputError where an image of ``labels`` has nothing to draw from."""
        if self.among is None:
            return torch.ones(known, dtype=torch.bool, device=labels.device)
        if self.among and not 0 <= self.among[0] <= self.among[-1] < known:
            raise InputError(
                f"among ranges over {self.among[0]}..{self.among[-1]}; the classifier has classes 0..{known - 1}."
            )
        allowed = torch.zeros(known, dtype=torch.bool, device=labels.device)
        allowed[list(self.among)] = True
        alone = (allowed.sum() - allowed[labels].long() == 0).nonzero().flatten().tolist()
        if alone:
            raise InputError(
                f"there is no target class for image {alone[0]} of class {int(labels[alone[0]])}: only {self.among} "
                "may be drawn. Where target_map is 'class', these are the classes of which there are maps: give "
                "correctly classified images of more."
            )
        return allowed


@dataclass(frozen=True)
class LeastLikely(ClassRule):
    """The class that the classifier finds least likely for the benign image."""

    name: ClassVar[str] = "least-likely"

    def classes(self, benign: Benign, seed: int) -> Tensor:
        own = torch.nn.functional.one_hot(benign.labels, benign.logits.shape[1]).bool()
        return benign.logits.masked_fill(own, torch.inf).argmin(1)


@dataclass(frozen=True)
class GivenClass(ClassRule):
    """The same class for every image, or one per image."""

    name: ClassVar[str] = "given"

    target: int | tuple[int, ...]

    def classes(self, benign: Benign, seed: int) -> Tensor:
        count, known = benign.logits.shape
        values = (self.target,) * count if isinstance(self.target, int) else self.target
        if len(values) != count:
            raise InputError(f"target has {len(values)} classes for {count} images; expected one per image.")
        classes = torch.tensor(values, dtype=torch.int64, device=benign.labels.device)
        if not bool(((classes >= 0) & (classes < known)).all()):
            raise InputError(
                f"target ranges over {min(values)}..{max(values)}; the classifier has classes 0..{known - 1}."
            )
        same = (classes == benign.labels).nonzero().flatten().tolist()
        if same:
            raise InputError(
                f"target is the image's own class for image {same[0]} (class {values[same[0]]}) and {len(same) - 1} "
                "others: a targeted attack needs another class. Leave these images out, or attack untargeted."
            )
        return classes


def drawn_among(rule: ClassRule, known: Iterable[int] | None) -> ClassRule:
    """``rule``; where it would draw from all classes, one that draws from the ``known`` ones (None: all) alone."""
    if known is None or not isinstance(rule, RandomClass) or rule.among is not None:
        return rule
    return RandomClass(tuple(known))


CLASS_RULES: dict[str, ClassRule] = {"random": RandomClass(), "least-likely": LeastLikely()}
