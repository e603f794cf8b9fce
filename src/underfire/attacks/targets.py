"""Which class an attack wants: rules that give each image its target class."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from underfire import randomness
from underfire.attacks.benign import Benign
from underfire.errors import InputError


class ClassRule(ABC):
    """Gives each image a class other than its own."""

    name: ClassVar[str]

    @abstractmethod
    def classes(self, benign: Benign, seed: int) -> Tensor:
        """int64 N."""


@dataclass(frozen=True)
class RandomClass(ClassRule):
    """Any other class, all equally likely, drawn from the seed and the image."""

    name: ClassVar[str] = "random"

    def classes(self, benign: Benign, seed: int) -> Tensor:
        others = benign.logits.shape[1] - 1
        drawn = randomness.integers(seed, benign.ids, "target class", 0, (1,), others).squeeze(1)
        return drawn + (drawn >= benign.labels).long()


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


CLASS_RULES: dict[str, ClassRule] = {"random": RandomClass(), "least-likely": LeastLikely()}
