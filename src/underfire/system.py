"""A classifier coupled with its interpreters: what is attacked, and what an analyst looks at."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from underfire.classifiers import Attackable, Classifier, Later, Recorded
from underfire.errors import InputError
from underfire.interpreters import Interpreter, Smoothing, SmoothRectifiers, State, View, made_of, named

Choose = Callable[[Recorded], Tensor]
"""A forward pass -> the classes that the maps explain, int64 N."""


@dataclass(frozen=True)
class Reading:
    """What a system says about images for classes.

    Args:
        recorded: the forward pass that says what the classifier thinks; made when first looked at.
        looks: by interpreter, N x r x h x w: a map, as often as the view looked at it in this step.
        terms: what interpreters add to an attack's objective, N each, by name.
    """

    recorded: Recorded
    looks: dict[str, Tensor]
    terms: dict[str, Tensor]

    @property
    def logits(self) -> Tensor:
        """N x K."""
        return self.recorded.logits

    @property
    def maps(self) -> dict[str, Tensor]:
        """N x h x w by interpreter: the last look at each."""
        return {name: looks[:, -1] for name, looks in self.looks.items()}


class System:
    """One classifier and one or more interpreters.

    Args:
        classifier: a ``Classifier``, or any ``nn.Module`` that takes pixels in [0, 1].
        interpreters: one, several, or a mapping of names to them. A name stands for the interpreter with its default
            parameters; see ``interpreters.named`` for several of one kind.
        variant: ``paper``, or ``published`` for the parameters of the published experiments; of names alone.
        readers: one or more, as ``interpreters`` but no mapping, whose maps are measured and never attacked: what
            cannot be differentiated (``captum:Lime``), or what an attack on the others is to be seen with.
    """

    def __init__(
        self,
        classifier: Classifier | nn.Module,
        interpreters: Interpreter | str | Sequence[Interpreter | str] | Mapping[str, Interpreter],
        variant: str = "paper",
        *,
        readers: Interpreter | str | Sequence[Interpreter | str] = (),
    ) -> None:
        self.classifier = classifier if isinstance(classifier, Classifier) else Classifier(classifier)
        if not isinstance(interpreters, Iterable) or isinstance(interpreters, str):
            interpreters = [interpreters]
        readers = [readers] if isinstance(readers, str | Interpreter) else readers
        if not isinstance(interpreters, Mapping):
            interpreters = list(interpreters)
            together = named([*interpreters, *readers], variant)
            interpreters = dict(list(together.items())[: len(interpreters)])
        else:
            read = named(readers, variant)
            twice = sorted(read.keys() & interpreters.keys())
            if twice:
                raise InputError(f"readers holds {twice[0]!r}, which is among interpreters: it is read anyway.")
            together = {**interpreters, **read}
        if not interpreters:
            raise InputError("interpreters is empty; a system needs at least one.")
        self.interpreters: dict[str, Interpreter] = {name: made_of(part, variant) for name, part in together.items()}
        self._attacked = tuple(interpreters)

    @property
    def attacked(self) -> dict[str, Interpreter]:
        """Those of ``interpreters`` that a joint attack is about: all but the readers."""
        return {name: self.interpreters[name] for name in self._attacked}

    @property
    def readers(self) -> list[str]:
        """The names of the others."""
        return [name for name in self.interpreters if name not in self._attacked]

    def maps(self, images: Tensor, classes: Tensor, ids: Tensor | None = None) -> dict[str, Tensor]:
        """The honest maps N x h x w of every interpreter, readers too."""
        return {
            name: interpreter.maps(self.classifier, images, classes, ids=ids)
            for name, interpreter in self.interpreters.items()
        }

    def only(self, names: Collection[str]) -> System:
        """Return the system with these of its interpreters alone."""
        if set(names) == set(self.interpreters):
            return self
        system = copy.copy(self)
        system.interpreters = {name: part for name, part in self.interpreters.items() if name in names}
        system._attacked = tuple(name for name in self._attacked if name in names)
        return system

    def reseeded(self, offset: int = 1) -> System | None:
        """The same system with other random numbers in its interpreters; None where none of them draws any."""
        again = {name: interpreter.reseeded(offset) for name, interpreter in self.interpreters.items()}
        if all(other is None for other in again.values()):
            return None
        system = copy.copy(self)
        system.interpreters = {name: other or self.interpreters[name] for name, other in again.items()}
        return system

    def view(self, precision: str = "float32", size: Sequence[int] | None = None) -> SystemView:
        """The differentiable view of what is attacked, on a prepared copy of the classifier.

        ``size``: height and width of the images that it is for, where the classifier does not say them itself.
        """
        views = {name: interpreter.view() for name, interpreter in self.attacked.items()}
        in_place = all(view.smoothing is None and view.in_place for view in views.values())
        return SystemView(self.classifier.prepare(precision, in_place=in_place, size=size), views)

    def __repr__(self) -> str:
        return f"System({self.classifier!r}, {list(self.interpreters.values())})"


class SystemView:
    """What an attack reads: one forward pass for the logits and for all interpreters that can share it."""

    def __init__(self, prepared: Attackable, views: Mapping[str, View]) -> None:
        self.prepared = prepared
        self.views = dict(views)
        self._groups: dict[Smoothing | None, list[str]] = {}
        # Exact rectifiers first: where a pass with them is made at all, the prediction term uses it.
        for name, view in sorted(self.views.items(), key=lambda item: item[1].smoothing is not None):
            self._groups.setdefault(view.smoothing, []).append(name)
        self._drifting = {name: view for name, view in self.views.items() if view.refresh_every}

    @property
    def patience(self) -> int:
        """Steps between two looks that count, which are those at which every drifting view is fresh; 1 without any."""
        return math.lcm(*(view.refresh_every for view in self._drifting.values()))

    @property
    def drifts(self) -> bool:
        """Whether any view's maps are the honest ones only right after a refresh."""
        return bool(self._drifting)

    def begin(self, images: Tensor, classes: Tensor, ids: Tensor) -> dict[str, State]:
        """State by interpreter, at the start of a stage that reads maps."""
        return {name: view.begin(self.prepared, images, classes, ids) for name, view in self.views.items()}

    def logits(self, images: Tensor) -> Tensor:
        """Logits alone, with exact rectifiers: one forward pass, nothing recorded."""
        return self.prepared.run(images)

    def look(self, images: Tensor, graph: bool = False) -> Recorded:
        """The same, made when first looked at. ``graph`` says whether it will be differentiated, which is counted."""
        return self._later(lambda: Recorded(self.prepared.run(images), None, None, None, ()), graph)

    def _later(self, make: Callable[[], Recorded], graph: bool) -> Recorded:
        def counted() -> Recorded:
            self.prepared.backwards += graph
            return make()

        return Later(counted)

    def read(
        self,
        images: Tensor,
        choose: Choose,
        states: dict[str, State],
        *,
        graph: bool,
        exact_prediction: bool = False,
    ) -> tuple[Reading, dict[str, State]]:
        """Read ``images`` (which require a gradient, or depend on something that does).

        Args:
            choose: forward pass -> the classes that the maps explain, int64 N.
            graph: whether the maps will be differentiated.
            exact_prediction: take the logits from a pass of their own where every interpreter smooths rectifiers,
                so that the prediction term's gradient is the exact one (one more forward and backward).
        """
        apart = exact_prediction and None not in self._groups
        said = self.look(images, graph) if apart else None
        looks: dict[str, Tensor] = {}
        terms: dict[str, Tensor] = {}
        states = dict(states)
        for smoothing, names in self._groups.items():
            mode = None if smoothing is None else SmoothRectifiers(smoothing)
            scales = any(self.views[name].scales for name in names)
            record = partial(self.prepared.record, images, mode, scales=scales)
            recorded = self._later(record, graph)
            said = said or recorded
            classes = choose(said)
            for name in names:
                view, state = self.views[name], states[name]
                maps, states[name] = view.read(self.prepared, recorded, images, classes, state, graph)
                looks[name] = maps.unsqueeze(1) if maps.ndim == 3 else maps
                for term, values in view.terms(recorded, classes, states[name]).items():
                    terms[term] = terms[term] + values if term in terms else values
        assert said is not None
        return Reading(said, {name: looks[name] for name in self.views}, terms), states

    def due(self, step: int) -> list[str]:
        """The views whose turn to be refreshed it is before ``step`` of a stage."""
        return [name for name, view in self._drifting.items() if step % view.refresh_every == 0]

    def refresh(
        self, images: Tensor, choose: Choose, states: dict[str, State], names: Iterable[str] | None = None
    ) -> dict[str, State]:
        """Bring the views called ``names`` up to date with ``images``; all that drift where None."""
        names = list(self._drifting if names is None else names)
        classes = choose(self.look(images)) if names else None
        states = dict(states)
        for name in names:
            assert classes is not None
            states[name] = self.views[name].refresh(self.prepared, images, classes, states[name])
        return states
