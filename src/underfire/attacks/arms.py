"""The arms of an experiment: attacks on a system and the controls beside them, with their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from underfire.attacks.perturbations import eps_text
from underfire.attacks.runnable import Runnable
from underfire.errors import InputError
from underfire.system import System

RESERVED = ("clean", "reseeded", "noise")
"""Labels of controls that are no attacks."""
Kind = Literal["clean", "reseeded", "noise", "control", "attack"]


@dataclass(frozen=True)
class Arm:
    """One arm of an experiment: an attack, or a control.

    Args:
        label: its unique name in the experiment: ``clean``, ``noise``, ``bim``, ``adv2``, ``adv2-cam``.
        kind: ``clean`` (the benign images), ``reseeded`` (they, read with other random numbers), ``noise``, ``control``
            (an attack on the prediction alone, beside another attack) or ``attack``.
        read_by: the interpreters that read its images.
        attack: the attack, for kinds ``control`` and ``attack``.
        targets: the interpreters that the attack is about; it reads their views.
        beside: for ``noise``: the label of the attack whose change it is as large as.
        eps: the radius of an attack that has a ball, and of the controls that stand beside it.
    """

    label: str
    kind: Kind
    read_by: tuple[str, ...]
    attack: Runnable | None = None
    targets: tuple[str, ...] = ()
    beside: str | None = None
    eps: float | None = None

    @property
    def name(self) -> str:
        """The attack's or the control's name: what the column ``attack`` of results holds."""
        return self.kind if self.attack is None else self.attack.name

    @property
    def attacked(self) -> tuple[str, ...]:
        """The interpreters whose maps are part of the objective."""
        return self.targets if self.attack is not None and self.attack.joint else ()


@dataclass(frozen=True)
class Asked:
    """An attack that is asked for.

    Args:
        attack: the attack.
        about: the interpreters that it is about: all that the system attacks, or one of them.
        control: the attack on the prediction alone that it is compared with; none if None.
    """

    attack: Runnable
    about: tuple[str, ...]
    control: Runnable | None = None

    @property
    def eps(self) -> float | None:
        """The radius of the attack; None if it has no ball."""
        found: float | None = getattr(self.attack.perturbation, "eps", None)
        return found


def arms_of(system: System, asked: Sequence[Asked]) -> tuple[Arm, ...]:
    """List the arms of an experiment, in the order in which they run.

    Attacks with equal controls share one, and attacks with the same size of noise share the noise control.
    Labels hold what tells several attacks apart: the interpreters (``adv2-cam``), the radius (``adv2-eps8of255``).

    Raises:
        InputError: an attack has the name of another attack or of a control, or another goal than its control.
    """
    for each in asked:
        _check_goal(each)
    every = tuple(system.interpreters)
    attacks = _attacks(system, asked)
    arms = [Arm("clean", "clean", every), *_controls(system, asked), *attacks]
    if system.reseeded() is not None:
        arms.append(Arm("reseeded", "reseeded", every))
    arms += _noises(attacks, every)
    _check_labels(arms)
    return tuple(arms)


def _check_goal(asked: Asked) -> None:
    """Raise InputError if a control has another goal: it gets the attack's classes, and would go elsewhere."""
    if asked.control is None or asked.control.goal.targeted == asked.attack.goal.targeted:
        return
    words = [
        f"{each.name!r} is {'targeted' if each.goal.targeted else 'untargeted'}"
        for each in (asked.control, asked.attack)
    ]
    raise InputError(
        f"control is an attack with another goal: {words[0]}, and {words[1]}; expected the same goal, such as "
        f"preset('pgd', targeted={asked.attack.goal.targeted}) or ForeignAttack(..., "
        f"goal=Goal({asked.attack.goal.targeted}))."
    )


def _attacks(system: System, asked: Sequence[Asked]) -> list[Arm]:
    labels = _labels([(each.attack.name, each.about, each.eps) for each in asked])
    return [
        Arm(label, "attack", (*each.about, *system.readers), each.attack, each.about, eps=each.eps)
        for each, label in zip(asked, labels, strict=True)
    ]


def _controls(system: System, asked: Sequence[Asked]) -> list[Arm]:
    """Make one arm for each different control; it is about the interpreters of all attacks that it stands beside."""
    different: list[tuple[Runnable, float | None]] = []
    abouts: list[dict[str, None]] = []
    for each in asked:
        if each.control is not None:
            if (each.control, each.eps) not in different:
                different.append((each.control, each.eps))
                abouts.append({})
            abouts[different.index((each.control, each.eps))].update(dict.fromkeys(each.about))
    found = [(control, eps, tuple(about)) for (control, eps), about in zip(different, abouts, strict=True)]
    labels = _labels([(control.name, about, eps) for control, eps, about in found])
    return [
        Arm(label, "control", (*about, *system.readers), control, about, eps=eps)
        for (control, eps, about), label in zip(found, labels, strict=True)
    ]


def _noises(attacks: Sequence[Arm], every: tuple[str, ...]) -> list[Arm]:
    """Make one arm for each size of noise and radius of the attacks; the size need not follow the radius."""
    first: dict[tuple[float, float | None], Arm] = {}
    for arm in attacks:
        if arm.attack is not None:
            first.setdefault((arm.attack.perturbation.noise_size, arm.eps), arm)
    labels = _labels([("noise", every, size if eps is None else eps) for size, eps in first])
    return [
        Arm(label, "noise", every, beside=arm.label, eps=arm.eps)
        for arm, label in zip(first.values(), labels, strict=True)
    ]


def _labels(named: Sequence[tuple[str, tuple[str, ...], float | None]]) -> list[str]:
    """Make labels of names, interpreters and radii; the latter two are only part of a label if they differ."""
    abouts, radii = {about for _, about, _ in named}, {eps for _, _, eps in named}
    labels = []
    for name, about, eps in named:
        parts = [name, *(["+".join(about)] if len(abouts) > 1 else [])]
        parts += [f"eps{eps_text(eps).replace('/', 'of')}"] if len(radii) > 1 and eps is not None else []
        labels.append("-".join(parts))
    return labels


def _check_labels(arms: Sequence[Arm]) -> None:
    """Raise InputError if an attack has the label of another attack or of a control."""
    labels = [arm.label for arm in arms]
    for arm in arms:
        if arm.attack is not None and (arm.name in RESERVED or labels.count(arm.label) > 1):
            raise InputError(
                f"two parts of the experiment would be called {arm.label!r}: an attack, and another attack or a "
                f"control ({', '.join(RESERVED)} are controls). Give the attack, or its perturbation, another name."
            )
