"""The schedule of an attack: stages of steps, with moves, loss terms, and weights that change over time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from underfire.arguments import whole_number
from underfire.attacks.guards import Guard
from underfire.attacks.rules import Rule, Sign
from underfire.attacks.terms.base import Term
from underfire.errors import InputError
from underfire.later import repr_without
from underfire.user_parts import check_all, check_kind, check_part


@dataclass(frozen=True)
class Constant:
    """The same weight in the whole stage."""

    value: float

    def at(self, progress: float) -> float:
        return self.value


@dataclass(frozen=True)
class Linear:
    """A weight that changes linearly from ``start`` at the first step of the stage to ``end`` at the last."""

    start: float
    end: float

    def at(self, progress: float) -> float:
        return self.start + (self.end - self.start) * progress


@dataclass(frozen=True)
class Cosine:
    """A weight that falls from ``start`` to ``end`` along half a period of a cosine (Loshchilov & Hutter 2017)."""

    start: float
    end: float

    def at(self, progress: float) -> float:
        return self.end + (self.start - self.end) * (1 + math.cos(math.pi * progress)) / 2


@dataclass(frozen=True)
class Phases:
    """A weight that is ``values[i]`` in the i-th part of the stage; parts have the proportions of ``lengths``."""

    values: tuple[float, ...]
    lengths: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.values) != len(self.lengths) or not self.values or min(self.lengths) <= 0:
            raise InputError(f"values {self.values} and lengths {self.lengths} must pair up, with positive lengths.")

    def at(self, progress: float) -> float:
        passed = progress * sum(self.lengths)
        for value, length in zip(self.values, self.lengths, strict=True):
            if passed < length:
                return value
            passed -= length
        return self.values[-1]


Weight = Constant | Linear | Cosine | Phases


def _check_scheduled(name: str, value: Any) -> None:
    """Raise InputError if ``value`` is neither a finite number nor a schedule of numbers."""
    ends = (value.at(0.0), value.at(1.0)) if hasattr(value, "at") else (value,)
    if not all(isinstance(each, Real) and math.isfinite(each) for each in ends):
        raise InputError(f"{name} is {value!r:.80}; expected a finite number, or a schedule such as Linear(0, 1).")


def _at(value: Any, progress: float) -> float:
    """Return the weight at a progress; ``value`` is a schedule or a number, also one of NumPy."""
    return float(value.at(progress) if hasattr(value, "at") else value)


@dataclass(frozen=True)
class Weighted:
    """A loss term and its weight, which may change over the stage; a number is a constant weight.

    Args:
        term: the loss term.
        weight: the weight of all images.
        priced: True if the price of each image multiplies the weight; see ``Pricing``. 1 if the attack has no pricing.
    """

    term: Term
    weight: Weight | float = 1.0
    priced: bool = False

    def __post_init__(self) -> None:
        check_part(self.term, Term, "term")
        _check_scheduled(f"weight of term {self.term.name!r}", self.weight)

    def weight_at(self, progress: float) -> float:
        """Return the weight at a progress in [0, 1] of the stage."""
        return _at(self.weight, progress)


@dataclass(frozen=True)
class Move:
    """One update of the perturbation per step.

    Args:
        terms: the loss terms; their weighted sum is minimised.
        size: the step size, in the perturbation's own unit (pixels in [0, 1] for L-inf); it may change over the stage,
            and a number is a constant size. With a guard it is the largest size.
        rule: the rule that turns the gradient into a direction.
        guard: a condition that must hold after the move, image by image; none if None.

    Raises:
        InputError: there are no terms, or a part is of another type.
    """

    terms: tuple[Weighted, ...]
    size: Weight | float
    rule: Rule = field(default_factory=Sign)
    guard: Guard | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "terms", check_all(self.terms, Weighted, "terms", "Weighted(term, weight)"))
        _check_scheduled("size", self.size)
        check_kind(self.rule, Rule, "rule")
        if self.guard is not None:
            check_kind(self.guard, Guard, "guard")

    def size_at(self, progress: float) -> float:
        """Return the step size at a progress in [0, 1] of the stage."""
        return _at(self.size, progress)

    @property
    def reads_maps(self) -> bool:
        """True if any of its terms reads maps."""
        return any(weighted.term.needs_maps for weighted in self.terms)


@dataclass(frozen=True)
class Stage:
    """A number of equal steps.

    Args:
        name: the stage's name in traces.
        steps: the number of steps.
        moves: the moves of each step, made one after the other.
        shaped: True if the attack's shaping acts in this stage; otherwise the perturbation is uniform in it.
        refreshes: how often drifting views are refreshed at least, at equal distances from the first step on; more
            often if a view asks for it.
    """

    name: str
    steps: int
    moves: tuple[Move, ...]
    shaped: bool = True
    refreshes: int = 1

    def __repr__(self) -> str:
        return repr_without(self, "refreshes")

    def __post_init__(self) -> None:
        moves = check_all(self.moves, Move, f"moves of stage {self.name!r}", "Move(terms, size)")
        object.__setattr__(self, "moves", moves)
        for name, least in (("steps", 0), ("refreshes", 1)):
            count = whole_number(f"{name} of stage {self.name!r}", getattr(self, name), least)
            object.__setattr__(self, name, count)

    @property
    def reads_maps(self) -> bool:
        """True if any of its moves reads maps."""
        return any(move.reads_maps for move in self.moves)

    @property
    def reader(self) -> int:
        """The index of the move whose reading ranks the iterates: the last move that reads maps, else the first."""
        return max((index for index, move in enumerate(self.moves) if move.reads_maps), default=0)

    @property
    def refresh_within(self) -> int:
        """The largest number of steps between two refreshes."""
        return max(1, self.steps // self.refreshes)

    def progress(self, step: int) -> float:
        """Return the progress of ``step`` (from 0) in the stage: 0 for the first step, 1 for the last."""
        return step / (self.steps - 1) if self.steps > 1 else 0.0
