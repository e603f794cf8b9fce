"""The contract of measures: the class ``Measure``, and its input ``Seen``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from underfire.arguments import check_choice
from underfire.attacks.aim import Aim
from underfire.attacks.outcome import Outcome
from underfire.errors import InputError
from underfire.metrics import ANY, Bounds
from underfire.user_parts import guarded, shape_of


@dataclass(frozen=True)
class Seen:
    """The input of a measure: N images under one attack or control. Tensors lie on the CPU.

    Args:
        clean: the benign images N x C x H x W in [0, 1].
        images: the images that are judged, at 8 bits.
        logits: the honest logits of ``images``, N x K.
        labels: int64 N, the images' own classes.
        aim: what the attack wants (a control has the aim of the attack beside it); None for images that no attack
            is about.
        maps: the honest maps of ``images`` N x h x w in [0, 1], by interpreter.
        benign_maps: those of the benign images for their own classes.
        outcome: costs of the attack; None for controls without steps.
        masks: the objects' true masks, bool N x H x W, if the data know them.
        ids: int64 N, the identities of the images, by which interpreters draw random numbers: maps that a measure reads
            itself are drawn like ``benign_maps`` with them. None if they are not known; then the pixels count.
    """

    clean: Tensor
    images: Tensor
    logits: Tensor
    labels: Tensor
    aim: Aim | None
    maps: Mapping[str, Tensor]
    benign_maps: Mapping[str, Tensor]
    outcome: Outcome | None = None
    masks: Tensor | None = None
    ids: Tensor | None = None

    def target_map(self, interpreter: str) -> Tensor:
        """The wanted maps N x h x w of an interpreter: the benign maps if no attack is about the images."""
        if self.aim is None:
            return self.benign_maps[interpreter]
        return self.aim.maps[interpreter].to(self.maps[interpreter])


Per = Literal["image", "map"]
Better = Literal["higher", "lower", "neither"]
Compute = Callable[[Seen], Tensor | None] | Callable[[Seen, str], Tensor | None]


@dataclass(frozen=True)
class Measure:
    """A measure: one value per image, or one per image and interpreter.

    Args:
        name: the name in files and in Python.
        per: ``image``, or ``map`` for one value per image and interpreter.
        kind: the type of a value: ``bool``, ``int`` or ``float``.
        heading: a short name for tables.
        meaning: a phrase that explains it to someone who has never seen it.
        digits: digits after the point in tables.
        better: ``higher`` or ``lower`` for the attacker; ``neither`` for costs and the like.
        compute: from ``Seen`` (and the interpreter's name, for measures per map) to N values; None if the value is not
            known for these images. A measure without ``compute`` is settled when results are read, since it needs
            limits that depend on all images.
        bounds: the least and the largest value that there can be; intervals of means do not reach beyond them.
    """

    name: str
    per: Per
    kind: Literal["bool", "int", "float"]
    heading: str
    meaning: str
    digits: int = 3
    better: Better = "neither"
    compute: Compute | None = None
    bounds: Bounds = ANY

    def __post_init__(self) -> None:
        check_choice("per", self.per, ("image", "map"))
        check_choice("kind", self.kind, ("bool", "int", "float"))
        check_choice("better", self.better, ("higher", "lower", "neither"))
        pair = tuple(self.bounds) if isinstance(self.bounds, Sequence) else ()
        if len(pair) != 2 or not all(isinstance(each, int | float) for each in pair) or not pair[0] <= pair[1]:
            raise InputError(
                f"bounds is {self.bounds!r:.80}; expected the least and the largest value that there can be: (0, 1)."
            )

    def values(self, seen: Seen, interpreter: str | None = None) -> Tensor | None:
        """Compute the measure, N values; None if it is not known for these images.

        Raises:
            InputError: a measure of the user's own returns something else than N values.
            UserCodeError: a measure of the user's own raises an error.
        """
        assert self.compute is not None
        arguments = (seen,) if interpreter is None else (seen, interpreter)
        found: Tensor | None = guarded(self.compute, "measure", self.name)(*arguments)
        if found is None:
            return None
        if not isinstance(found, Tensor) or found.shape != (len(seen.images),):
            raise InputError(
                f"measure {self.name!r} returns {shape_of(found)}; expected a tensor of {len(seen.images)} values."
            )
        return found.cpu()
