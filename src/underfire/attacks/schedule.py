"""When an attack does what: stages of steps, each with its terms' weights over time and its moves."""

from __future__ import annotations

from dataclasses import dataclass, field

from underfire.attacks.guards import Guard
from underfire.attacks.rules import Rule, Sign
from underfire.attacks.terms.base import Term
from underfire.errors import InputError


@dataclass(frozen=True)
class Constant:
    """The same weight all along."""

    value: float

    def at(self, progress: float) -> float:
        return self.value


@dataclass(frozen=True)
class Linear:
    """From ``start`` at the beginning of the stage to ``end`` at its end."""

    start: float
    end: float

    def at(self, progress: float) -> float:
        return self.start + (self.end - self.start) * progress


@dataclass(frozen=True)
class Phases:
    """``values[i]`` for a share of the stage in proportion to ``lengths[i]``."""

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


Weight = Constant | Linear | Phases


def _at(value: Weight | float, progress: float) -> float:
    return value if isinstance(value, int | float) else value.at(progress)


@dataclass(frozen=True)
class Weighted:
    """A term of the objective, and its weight over the stage's progress in [0, 1]; a number is a constant weight."""

    term: Term
    weight: Weight | float = 1.0

    def weight_at(self, progress: float) -> float:
        return _at(self.weight, progress)


@dataclass(frozen=True)
class Move:
    """One update of the perturbation per step.

    Args:
        terms: what is minimised.
        rule: how a gradient becomes a direction.
        size: the step size over the stage's progress, in the perturbation's own unit (pixels in [0, 1] for L-inf).
            A number is a constant size. With a guard it is the largest size that is tried.
        guard: the condition that must still hold after the move, image by image.
    """

    terms: tuple[Weighted, ...]
    size: Weight | float
    rule: Rule = field(default_factory=Sign)
    guard: Guard | None = None

    def size_at(self, progress: float) -> float:
        return _at(self.size, progress)

    @property
    def reads_maps(self) -> bool:
        return any(weighted.term.needs_maps for weighted in self.terms)


@dataclass(frozen=True)
class Stage:
    """``steps`` steps, in each of which the ``moves`` are made one after the other.

    ``shaped`` says whether the attack's shaping acts in this stage; the perturbation is uniform where it does not.
    """

    name: str
    steps: int
    moves: tuple[Move, ...]
    shaped: bool = True

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise InputError(f"steps of stage {self.name!r} is {self.steps}; expected 0 or more.")

    @property
    def reads_maps(self) -> bool:
        return any(move.reads_maps for move in self.moves)

    @property
    def reader(self) -> int:
        """The move whose reading ranks the iterates: the last one that reads maps, else the first."""
        return max((index for index, move in enumerate(self.moves) if move.reads_maps), default=0)

    def progress(self, step: int) -> float:
        """Where ``step`` (from 0) lies in the stage: 0 for the first, 1 for the last."""
        return step / (self.steps - 1) if self.steps > 1 else 0.0
