"""Ensembles: the attacks of an audit, in the order in which they run. They have no parameters, and never change.

Two audits can be compared if they used the same ensemble. A better ensemble gets a new name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from underfire.arguments import check_choice, whole_number
from underfire.attacks.benign import Benign
from underfire.attacks.goal import without
from underfire.attacks.perturbations import PGD
from underfire.attacks.presets import Preset
from underfire.attacks.targets import GivenClass
from underfire.audits.standing import SMALLER
from underfire.errors import InputError

Kind = Literal["apgd-ce", "apgd-dlr", "auto", "adv2", "search"]
PREDICTION: tuple[Kind, ...] = ("apgd-ce", "apgd-dlr")
"""Attacks on the class alone. They do not depend on the interpreter, so that all interpreters share their images."""


@dataclass(frozen=True)
class Member:
    """One attack of an ensemble.

    Args:
        name: its name in results, which must not hold a comma: what follows one says where a member found an image.
        kind: ``apgd-ce`` or ``apgd-dlr`` (attacks on the class alone, untargeted, from a random start; see
            ``underfire.audits.apgd``), ``auto``, ``adv2``, or ``search`` (a random search that sees no gradient).
        steps: the number of steps. Each takes one gradient of the objective for each image; for ``search``, the number
            of queries.
        rank: for ``auto`` and ``adv2``, the class that it shall reach: 1 for the likeliest class other than the image's
            own, 2 for the next; 0 for any class other than the own.
        goes_on: for ``auto`` and ``adv2``: reach the class of the image that was found so far with the nearest map; the
            likeliest other class if there is none.
        random_start: for ``auto`` and ``adv2``: begin at a random image of the ball instead of at the image itself.

    Raises:
        InputError: the name is no text, empty, has a comma, or is ``smaller eps``; there is no such kind; ``steps`` is
            no whole number of at least 1, or ``rank`` none of at least 0; or ``goes_on`` or ``random_start`` is neither
            True nor False.
    """

    name: str
    kind: Kind
    steps: int
    rank: int = 0
    goes_on: bool = False
    random_start: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise InputError(f"name is {self.name!r:.80}; expected a text by which results name the member.")
        if "," in self.name or self.name == SMALLER:
            raise InputError(
                f"name is {self.name!r:.80}; expected one without a comma, and another one than {SMALLER!r}: results "
                f"write where a member found an image as 'auto, {SMALLER}'."
            )
        check_choice("kind", self.kind, get_args(Kind))
        for name, least in (("steps", 1), ("rank", 0)):
            object.__setattr__(self, name, whole_number(name, getattr(self, name), least))
        for name in ("goes_on", "random_start"):
            check_choice(name, getattr(self, name), (False, True))

    @property
    def work(self) -> float:
        """About how long it takes, in gradients of an image: a query, a forward pass, takes a third of one."""
        return self.steps / 3 if self.kind == "search" else float(self.steps)

    @property
    def about(self) -> str:
        """Its name and its length in words, such as ``auto (200 steps)``."""
        return f"{self.name} ({self.steps} {'queries' if self.kind == 'search' else 'steps'})"

    def preset(self, eps: float, classes: Tensor | None = None) -> Preset:
        """Make the joint attack, for ``auto`` and ``adv2``.

        Args:
            eps: the radius in L-inf, in pixel units.
            classes: int64 N, the class that each image shall reach; any other class if None.
        """
        rule = None if classes is None else GivenClass(tuple(classes.tolist()))
        start = PGD(eps, random_start=self.random_start)
        if self.kind == "auto":
            return Preset("auto", perturbation=start, budget=self.steps, targeted=rule is not None, target_class=rule)
        warmup = self.steps // 5
        steps = (warmup, self.steps - warmup)
        return Preset("adv2", perturbation=start, steps=steps, targeted=rule is not None, target_class=rule)

    def classes(self, benign: Benign, found: Tensor) -> Tensor | None:
        """Choose the class that each image shall reach, int64 N; None if any other class will do.

        Args:
            benign: the clean images.
            found: int64 N, the class of the image that was found so far with the nearest map; -1 if there is none.
        """
        if self.rank == 0 and not self.goes_on:
            return None
        others = without(benign.logits, benign.labels)
        chosen = others.topk(min(max(self.rank, 1), others.shape[1] - 1), dim=1).indices[:, -1]
        found = found.to(chosen)
        return torch.where(found >= 0, found, chosen) if self.goes_on else chosen

    def to_dict(self) -> dict[str, Any]:
        """Convert it to values for JSON."""
        return asdict(self)


ENSEMBLES: Mapping[str, tuple[Member, ...]] = MappingProxyType(
    {
        "audit-1": (
            Member("apgd-ce", "apgd-ce", 50),
            Member("apgd-dlr", "apgd-dlr", 50),
            Member("auto", "auto", 200),
            *(Member(f"auto-{rank}", "auto", 100, rank=rank) for rank in range(1, 10)),
            Member("auto-on", "auto", 1000, goes_on=True),
            Member("adv2", "adv2", 200, rank=1),
            Member("search", "search", 500),
        ),
    }
)
"""The attacks of each ensemble.

``audit-1``: two attacks on the class alone; ``auto`` toward any other class, toward each of the nine likeliest ones,
and for long toward the best of these; ADV2's published schedule in 200 steps; and a search without gradients, which
notices gradients that lead nowhere. The first two run on all images, and each further attack on the images that still
stand."""


def distinct(members: tuple[Member, ...], classes: int) -> tuple[Member, ...]:
    """Leave out members that would repeat another one, because there are fewer classes than they ask for.

    With K classes, a rank of K or more means the last of the K - 1 other classes. With two classes, the likeliest other
    class is the only one, so that the joint attack toward it repeats the one toward any other class. A member is left
    out only if one like it stays that takes at least as many steps.

    Args:
        members: the members of an ensemble.
        classes: the number of the classifier's classes, K.

    Raises:
        InputError: a member that would be left out is none of a named ensemble, but the user's own.
    """
    kept = {place: member for place, member in enumerate(members) if member.rank == _rank(member, classes)}
    for place, member in enumerate(members):
        if place in kept:
            continue
        same = next((other for other in kept.values() if _repeats(member, other, classes)), None)
        if same is None:
            kept[place] = replace(member, rank=min(member.rank, classes - 1))
        elif all(member not in ensemble for ensemble in ENSEMBLES.values()):
            raise InputError(
                f"ensemble: member {member.name!r} has rank {member.rank}, and with the {classes} classes of the "
                f"classifier it would repeat member {same.name!r}; expected different attacks. Leave one of them out."
            )
    return tuple(kept[place] for place in sorted(kept))


def _rank(member: Member, classes: int) -> int:
    """Return the rank of the class that a member goes for among ``classes`` classes; 0 if any other class will do."""
    return 0 if classes == 2 and member.kind == "auto" else min(member.rank, classes - 1)


def _repeats(member: Member, other: Member, classes: int) -> bool:
    """Return True if a member does nothing that another one does not do."""
    ranks = [_rank(each, classes) for each in (member, other)]
    return replace(member, name=other.name, steps=other.steps, rank=ranks[0]) == replace(other, rank=ranks[1]) and (
        member.steps <= other.steps
    )
