"""The interpreter that aggregates the maps of several interpreters ([ADV2] section 6.1, defense 1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from underfire.arguments import check_choice
from underfire.classifiers import Attackable, Classifier, Later, Recorded
from underfire.errors import InputError
from underfire.interpreters.base import HonestMaps, Interpreter, State, View
from underfire.interpreters.ensemble.aggregate import AGGREGATES, on_one_grid
from underfire.interpreters.smoothing import Smoothing, SmoothRectifiers

_BETWEEN = re.compile(r"\+(?=[A-Za-z_./~\\])")
"""The plus between two names; those in ``gradcam++`` and ``lrp:z+`` are followed by no letter, and by no path."""


@dataclass(frozen=True)
class Ensemble(Interpreter):
    """The aggregated map of several interpreters of one classifier.

    The maps of all parts are resized bilinearly to the largest of their sizes, and aggregated cell by cell.

    Args:
        parts: two or more interpreters.
        by: ``mean``, ``rank`` (the mean of ranks within each map) or ``median``; see ``AGGREGATES``.

    Raises:
        InputError: there are fewer than two parts, or ``by`` is unknown.
    """

    name: ClassVar[str] = "ensemble"
    family: ClassVar[str] = "ensemble"
    example: ClassVar[str] = "ensemble:cam+grad"

    parts: tuple[Interpreter, ...]
    by: str = "mean"

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(self.parts))
        check_choice("by", self.by, tuple(AGGREGATES))
        if len(self.parts) < 2:
            raise InputError(f"parts holds {len(self.parts)} interpreters; an ensemble needs at least two.")
        for part in self.parts:
            if not isinstance(part, Interpreter):
                raise InputError(f"parts holds an object of type {type(part).__name__}; expected interpreters.")

    @classmethod
    def parse(cls, argument: str, make: Callable[[str], Interpreter]) -> Ensemble:
        """Make the ensemble of an argument such as ``cam+grad`` or ``rank:cam+gradcam+++lrp:z+``.

        Args:
            argument: ``PART+PART...``, the mean, or ``BY:PART+PART...``.
            make: makes a part from its name.

        Raises:
            InputError: there are fewer than two parts.
        """
        by, colon, rest = argument.partition(":")
        if not colon or by not in AGGREGATES:
            by, rest = "mean", argument
        return cls(tuple(make(name) for name in _BETWEEN.split(rest)), by)

    @property
    def label(self) -> str:
        return f"{self.name}:{self.by}:{'+'.join(part.label for part in self.parts)}"

    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        return self.bound_to(classifier)(images, classes, ids)

    def bound_to(self, classifier: Classifier) -> HonestMaps:
        reads = [part.bound_to(classifier) for part in self.parts]

        def read(images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
            return self.together([each(images, classes, ids).detach() for each in reads])

        return read

    def together(self, maps: Sequence[Tensor]) -> Tensor:
        """Aggregate the maps N x h x w of all parts, in their order."""
        return AGGREGATES[self.by](on_one_grid(maps))

    def identity(self, classifier: Classifier) -> str:
        parts = "; ".join(part.known_by(classifier) for part in self.parts)
        return f"Ensemble(by={self.by!r}) of {parts}"

    def reseeded(self, offset: int = 1) -> Ensemble | None:
        again = [part.reseeded(offset) for part in self.parts]
        if all(other is None for other in again):
            return None
        return replace(self, parts=tuple(other or part for other, part in zip(again, self.parts, strict=True)))

    def sketch(self) -> Ensemble:
        parts = tuple(part.sketch() for part in self.parts)
        return (
            self
            if all(one is other for one, other in zip(parts, self.parts, strict=True))
            else replace(self, parts=parts)
        )

    def view(self) -> View:
        return _EnsembleView(self)


class _EnsembleView(View):
    """The views of all parts. Those that smooth rectifiers share one more forward pass per kind of smoothing.

    State: the parts' states, each name with the part's number in front.
    """

    def __init__(self, interpreter: Ensemble) -> None:
        self.interpreter = interpreter
        self.views = [part.view() for part in interpreter.parts]
        drifting = [view.refresh_every for view in self.views if view.refresh_every]
        self.scales = any(view.scales for view in self.views)
        self.in_place = all(view.in_place and view.smoothing is None for view in self.views)
        self.refresh_every = min(drifting, default=0)
        self.refresh_passes = sum(view.refresh_passes for view in self.views)
        self.steps_alike = all(view.steps_alike for view in self.views)
        self.compilable = all(view.compilable and view.smoothing is None for view in self.views)

    def begin(self, prepared: Attackable, images: Tensor, classes: Tensor, ids: Tensor) -> State:
        return _packed([view.begin(prepared, images, classes, ids) for view in self.views])

    def read(
        self, prepared: Attackable, recorded: Recorded, images: Tensor, classes: Tensor, state: State, graph: bool
    ) -> tuple[Tensor, State]:
        passes = self._passes(prepared, recorded, images, graph)
        maps, states = [], []
        for index, view in enumerate(self.views):
            own = _part_of(state, index)
            found, own = view.read(prepared, passes[view.smoothing], images, classes, own, graph)
            maps.append(found)
            states.append(own)
        if all(found.ndim == 3 for found in maps):
            return self.interpreter.together(maps), _packed(states)
        several = max(found.shape[1] for found in maps if found.ndim == 4)
        rows = [found if found.ndim == 4 else found.unsqueeze(1).expand(-1, several, -1, -1) for found in maps]
        together = self.interpreter.together([row.flatten(0, 1) for row in rows])
        return together.unflatten(0, (len(images), several)), _packed(states)

    def _passes(
        self, prepared: Attackable, shared: Recorded, images: Tensor, graph: bool
    ) -> dict[Smoothing | None, Recorded]:
        """Return the forward pass for each kind of smoothing, made when it is first read."""

        def later(smoothing: Smoothing) -> Recorded:
            def make() -> Recorded:
                prepared.backwards += graph
                return prepared.record(images, SmoothRectifiers(smoothing), scales=self.scales)

            return Later(make)

        kinds = {view.smoothing for view in self.views} - {None}
        return {None: shared, **{kind: later(kind) for kind in kinds if kind is not None}}

    def refresh(self, prepared: Attackable, images: Tensor, classes: Tensor, state: State) -> State:
        states = [_part_of(state, index) for index in range(len(self.views))]
        return _packed(
            [
                view.refresh(prepared, images, classes, own) if view.refresh_every else own
                for view, own in zip(self.views, states, strict=True)
            ]
        )

    def terms(self, recorded: Recorded, classes: Tensor, state: State) -> dict[str, Tensor]:
        total: dict[str, Tensor] = {}
        for index, view in enumerate(self.views):
            for name, values in view.terms(recorded, classes, _part_of(state, index)).items():
                total[name] = total[name] + values if name in total else values
        return total


def _packed(states: Sequence[State]) -> State:
    return {f"{index}.{name}": value for index, state in enumerate(states) for name, value in state.items()}


def _part_of(state: State, index: int) -> State:
    first = f"{index}."
    return {name.removeprefix(first): value for name, value in state.items() if name.startswith(first)}
