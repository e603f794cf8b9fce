"""Target classes: rules that give each image the class that an attack wants."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import torch
from torch import Tensor

from underfire import randomness
from underfire.arguments import whole_number
from underfire.attacks.benign import Benign
from underfire.attacks.class_rule import Choice
from underfire.attacks.class_rule import ClassRule as ClassRule
from underfire.attacks.grid_first import GridFirst
from underfire.errors import InputError
from underfire.registry import Registry, instances_of
from underfire.system import SystemView
from underfire.user_parts import guarded, shape_of

_TRIES = 64
"""The number of classes that an image draws at once, until one of them is allowed."""


@dataclass(frozen=True)
class RandomClass(ClassRule):
    """Any other class, all equally likely, drawn from the seed and the image.

    Args:
        among: the classes that may be drawn; all if None. An image draws until it gets one of them, so leaving out a
            class changes nothing for images that would not have drawn it.
    """

    name: ClassVar[str] = "random"
    needs_images: ClassVar[bool] = False

    among: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.among is not None:
            if not isinstance(self.among, Iterable) or isinstance(self.among, str):
                raise InputError(f"among is {self.among!r:.80}; expected class numbers, such as (3, 5).")
            among = {whole_number("a class of among", number, 0) for number in self.among}
            object.__setattr__(self, "among", tuple(sorted(among)))

    def classes(self, view: SystemView, benign: Benign, seed: int) -> Tensor:
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
        """Mark the classes that may be drawn, bool K. Raises InputError if an image of ``labels`` has none to draw."""
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
    needs_maps: ClassVar[bool] = False

    def classes(self, view: SystemView, benign: Benign, seed: int) -> Tensor:
        own = torch.nn.functional.one_hot(benign.labels, benign.logits.shape[1]).bool()
        return benign.logits.masked_fill(own, torch.inf).argmin(1)


@dataclass(frozen=True)
class GivenClass(ClassRule):
    """The same class for every image, or one per image."""

    name: ClassVar[str] = "given"
    needs_images: ClassVar[bool] = False

    target: int | tuple[int, ...]

    def classes(self, view: SystemView, benign: Benign, seed: int) -> Tensor:
        count = len(benign.labels)
        values = (self.target,) * count if isinstance(self.target, int) else self.target
        if len(values) != count:
            raise InputError(f"target has {len(values)} classes for {count} images; expected one per image.")
        return torch.tensor(values, dtype=torch.int64, device=benign.labels.device)


def chosen_classes(rule: ClassRule, view: SystemView, benign: Benign, seed: int) -> Tensor:
    """Choose the target classes of ``rule``, int64 N, on the device of the labels. Raises as ``chosen`` does."""
    return chosen(rule, view, benign, seed).classes


def chosen(rule: ClassRule, view: SystemView, benign: Benign, seed: int) -> Choice:
    """Choose the target classes of ``rule``, and the wanted class probabilities if it has any, on the labels' device.

    Raises:
        InputError: the rule gives no class that the classifier has, or an image's own class, or no probabilities of
            that many classes.
        UserCodeError: a rule of the user's own raises an error.
    """
    choice = guarded(rule, "target_class").choose(view, benign, seed)
    if not isinstance(choice, Choice):
        raise InputError(
            f"target_class {rule.name!r} chooses {shape_of(choice)}; expected a Choice(classes, probabilities)."
        )
    classes, count, known = choice.classes, *benign.logits.shape
    if not isinstance(classes, Tensor) or classes.shape != (count,) or classes.dtype != torch.int64:
        kind = f" and {classes.dtype}" if isinstance(classes, Tensor) else ""
        raise InputError(
            f"target_class {rule.name!r} returns {shape_of(classes)}{kind}; expected a tensor of {count} classes "
            "(torch.int64), one per image."
        )
    classes = classes.to(benign.labels.device)
    if not bool(((classes >= 0) & (classes < known)).all()):
        raise InputError(
            f"target_class {rule.name!r} ranges over {int(classes.min())}..{int(classes.max())}; the classifier has "
            f"classes 0..{known - 1}."
        )
    same = (classes == benign.labels).nonzero().flatten().tolist()
    if same:
        raise InputError(
            f"target_class {rule.name!r} is the image's own class for image {same[0]} (class {int(classes[same[0]])}) "
            f"and {len(same) - 1} others: a targeted attack needs another class. Leave these images out, or attack "
            "untargeted."
        )
    wanted = choice.probabilities
    if wanted is not None:
        if not isinstance(wanted, Tensor) or wanted.shape != benign.logits.shape:
            raise InputError(
                f"target_class {rule.name!r} wants class probabilities of {shape_of(wanted)}; expected "
                f"{tuple(benign.logits.shape)}: one row per image, with one value per class."
            )
        wanted = wanted.detach().to(benign.labels.device)
    return Choice(classes, wanted)


def drawn_among(rule: ClassRule, known: Iterable[int] | None) -> ClassRule:
    """Restrict a rule that draws from all classes to the ``known`` ones; None restricts nothing."""
    if known is None or not isinstance(rule, RandomClass) or rule.among is not None:
        return rule
    return RandomClass(tuple(known))


CLASS_RULES: Registry[ClassRule] = Registry(
    "target_class",
    "underfire.class_rules",
    {rule.name: rule for rule in (RandomClass(), LeastLikely(), GridFirst())},
    instances_of(ClassRule, "the rule for target classes"),
)
"""Rules for target classes by name: what ``--target-class`` and ``preset(target_class=...)`` take."""


def class_rule(given: Any) -> ClassRule:
    """Turn what a user gives as target class into a rule. Raises InputError if it is none."""
    if isinstance(given, str) and given.isdecimal():
        return GivenClass(int(given))
    if isinstance(given, str | ClassRule):
        return CLASS_RULES.find(given)
    if given is None:
        return RandomClass()
    values = given.tolist() if hasattr(given, "tolist") else given  # tensors, arrays and their numbers
    if isinstance(values, Integral) and not isinstance(values, bool):
        return GivenClass(int(values))
    if (
        isinstance(values, Sequence)
        and values
        and all(isinstance(value, Integral) and not isinstance(value, bool) for value in values)
    ):
        return GivenClass(tuple(int(value) for value in values))
    raise InputError(
        f"target_class is {values!r:.60} ({type(given).__name__}); expected a rule, 'random', 'least-likely', a class "
        "number, or one class number per image."
    )
