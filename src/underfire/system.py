"""A classifier coupled with its interpreters: what is attacked, and what an analyst looks at."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from underfire.classifiers import Attackable, Classifier, Compiled, Later, Recorded
from underfire.errors import InputError
from underfire.interpreters import Interpreter, Smoothing, SmoothRectifiers, State, View, listed, made_of, named
from underfire.interpreters.map_checks import maps_and_state
from underfire.user_parts import guarded

Choose = Callable[[Recorded], Tensor]
"""Chooses the classes that the maps explain, int64 N, after a forward pass."""


@dataclass(frozen=True)
class Reading:
    """The answer of a system about images: logits, and maps for classes.

    Args:
        recorded: the forward pass that gives the logits; made when one of its values is first read.
        looks: by interpreter, N x r x h x w: the r maps that the view gave in this step (one for most views).
        terms: the terms that interpreters add to an attack's objective, N each, by name.
    """

    recorded: Recorded
    looks: dict[str, Tensor]
    terms: dict[str, Tensor]

    @property
    def logits(self) -> Tensor:
        """The logits, N x K."""
        return self.recorded.logits

    @property
    def maps(self) -> dict[str, Tensor]:
        """The map of each interpreter, N x h x w; the last one if it gives several."""
        return {name: looks[:, -1] for name, looks in self.looks.items()}


class System:
    """One classifier and one or more interpreters.

    Args:
        classifier: a ``Classifier``, or any ``nn.Module`` that takes pixels in [0, 1].
        interpreters: one, several, or a mapping of names to them. A name stands for the interpreter with its default
            parameters; see ``interpreters.named`` for several of one kind.
        variant: ``paper``, or ``published`` for the parameters of the published experiments. It applies to names only.
        readers: one or more interpreters that only read: their maps are measured and never attacked. Use it for
            interpreters that cannot be differentiated (``captum:Lime``), or to see an attack on one interpreter with
            another one. As ``interpreters``, but no mapping.

    Raises:
        InputError: there is no interpreter, an unknown name, or two interpreters would have one name.
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
        readers = listed("readers", readers)
        if not isinstance(interpreters, Mapping):
            interpreters = listed("interpreters", interpreters)
            together = named([*interpreters, *readers], variant)
            interpreters = dict(list(together.items())[: len(interpreters)])
        else:
            read = named(readers, variant)
            twice = sorted(read.keys() & interpreters.keys())
            if twice:
                raise InputError(
                    f"readers holds {twice[0]!r}, which is among interpreters too: its maps are measured anyway."
                )
            together = {**interpreters, **read}
        if not interpreters:
            raise InputError("interpreters is empty; a system needs at least one.")
        self.interpreters: dict[str, Interpreter] = {name: made_of(part, variant) for name, part in together.items()}
        self._attacked = tuple(interpreters)

    @property
    def attacked(self) -> dict[str, Interpreter]:
        """The interpreters whose maps joint attacks are about: all except the readers."""
        return {name: self.interpreters[name] for name in self._attacked}

    @property
    def readers(self) -> list[str]:
        """The names of the interpreters that only read."""
        return [name for name in self.interpreters if name not in self._attacked]

    @property
    def labels(self) -> dict[str, str]:
        """The label of each interpreter, by its name in this system.

        Random numbers are drawn under the label, so that the name of an interpreter changes none of them.
        """
        return {name: interpreter.label for name, interpreter in self.interpreters.items()}

    def maps(self, images: Tensor, classes: Tensor, ids: Tensor | Sequence[str] | None = None) -> dict[str, Tensor]:
        """Read the honest maps N x h x w of every interpreter, also of readers.

        Args:
            images: N x C x H x W in [0, 1].
            classes: int64 N, the class that each map explains.
            ids: stable names, or int64 N, for random numbers; by default images are known by their pixels.
        """
        return {
            name: guarded(interpreter, "interpreter", name).maps(self.classifier, images, classes, ids=ids)
            for name, interpreter in self.interpreters.items()
        }

    def only(self, names: Collection[str]) -> System:
        """Return the system with only the interpreters of these names."""
        if set(names) == set(self.interpreters):
            return self
        system = copy.copy(self)
        system.interpreters = {name: part for name, part in self.interpreters.items() if name in names}
        system._attacked = tuple(name for name in self._attacked if name in names)
        return system

    def reseeded(self, offset: int = 1) -> System | None:
        """Return the system with other random numbers in its interpreters; None if none of them draws any."""
        again = {name: interpreter.reseeded(offset) for name, interpreter in self.interpreters.items()}
        if all(other is None for other in again.values()):
            return None
        system = copy.copy(self)
        system.interpreters = {name: other or self.interpreters[name] for name, other in again.items()}
        return system

    def view(self, precision: str = "float32", size: Sequence[int] | None = None, compile: bool = False) -> SystemView:
        """Make the differentiable view of the attacked interpreters, on a prepared copy of the classifier.

        Args:
            precision: see ``Classifier.prepare``.
            size: height and width of the images; the classifier's own ``image_size`` if None.
            compile: compile the passes that are differentiated once. A warning names interpreters that need others.
        """
        views = {
            name: guarded(guarded(interpreter, "interpreter", name).view(), "view of interpreter", name)
            for name, interpreter in self.attacked.items()
        }
        prepared = self.classifier.prepare(precision, in_place=works_in_place(views.values()), size=size)
        eager = [name for name, view in views.items() if not view.compilable]
        return SystemView(prepared, views, Compiled(prepared, eager) if compile else None)

    def __repr__(self) -> str:
        return f"System({self.classifier!r}, {list(self.interpreters.values())})"


def works_in_place(views: Iterable[View]) -> bool:
    """Return True if ``views`` can share a copy of the network whose activations work in place."""
    return all(view.smoothing is None and view.in_place for view in views)


class SystemView:
    """The differentiable side of a system: attacks read logits and maps from it.

    The logits and all interpreters with equal smoothing share one forward pass.

    Args:
        prepared: the network, with ``run`` and ``record``: a prepared copy, or one that is being trained
            (``Classifier.live``).
        views: the interpreters' views by name.
        compiled: the compiled passes of ``prepared``; all passes are eager if None.

    Attributes:
        records_steps: True if the steps of attacks on a GPU may be recorded and repeated, where they are alike; set it
            to False to make each of them one operation at a time.
    """

    def __init__(self, prepared: Attackable, views: Mapping[str, View], compiled: Compiled | None = None) -> None:
        self.prepared, self.compiled = prepared, compiled
        self.views = dict(views)
        self.records_steps = True
        self._groups: dict[Smoothing | None, list[str]] = {}
        # Exact rectifiers come first: the logits are those of the first pass.
        for name, view in sorted(self.views.items(), key=lambda item: item[1].smoothing is not None):
            self._groups.setdefault(view.smoothing, []).append(name)
        self._drifting = {name: view for name, view in self.views.items() if view.refresh_every}

    def eager(self) -> SystemView:
        """Return the view without compiled passes, for passes that are probed."""
        return SystemView(self.prepared, self.views)

    @property
    def patience(self) -> int:
        """The number of steps between two steps that refresh all drifting views at once; 1 if no view drifts."""
        return math.lcm(*(view.refresh_every for view in self._drifting.values()))

    @property
    def drifts(self) -> bool:
        """True if the maps of any view are the honest maps only right after a refresh."""
        return bool(self._drifting)

    def begin(self, images: Tensor, classes: Tensor, ids: Tensor) -> dict[str, State]:
        """Make the state of each view, at the start of a stage that reads maps."""
        return {name: view.begin(self.prepared, images, classes, ids) for name, view in self.views.items()}

    def logits(self, images: Tensor) -> Tensor:
        """Compute the logits N x K with exact rectifiers: one forward pass, without features."""
        return self.prepared.run(images, twice=False)

    def look(self, images: Tensor, graph: bool = False) -> Recorded:
        """Return a forward pass without features, made when its logits are first read.

        Args:
            graph: True if it will be differentiated; then a backward pass is counted, too.
        """
        return self._later(lambda: self._run(images, graph), graph)

    def _run(self, images: Tensor, graph: bool) -> Recorded:
        found = self.compiled.record(images) if self.compiled and graph else None
        return found or Recorded(self.prepared.run(images, twice=False), None, None, None, ())

    def _record(self, images: Tensor, smoothing: Smoothing | None, names: Sequence[str], graph: bool) -> Recorded:
        """Make the shared pass of some views: compiled if that is enough for all of them."""
        views = [self.views[name] for name in names]
        compiled = self.compiled if graph and all(view.compilable for view in views) else None
        if compiled is not None and (found := compiled.record(images, features=True)) is not None:
            return found
        twice = not all(view.compilable for view in views)
        mode = SmoothRectifiers(smoothing) if smoothing or (graph and twice) else None
        kept = {name: any(getattr(view, name) for view in views) for name in ("scales", "attention")}
        return self.prepared.record(images, mode, **kept, twice=twice)

    def _later(self, make: Callable[[], Recorded], graph: bool) -> Recorded:
        def counted() -> Recorded:
            self.prepared.backwards += graph
            return make()

        return Later(counted)

    def read(
        self, images: Tensor, choose: Choose, states: dict[str, State], *, graph: bool, exact_prediction: bool = False
    ) -> tuple[Reading, dict[str, State]]:
        """Read logits and maps.

        Args:
            images: N x C x H x W in [0, 1]; they require a gradient, or depend on a tensor that does.
            choose: chooses the classes that the maps explain, after a forward pass.
            states: the views' states.
            graph: True if the maps will be differentiated.
            exact_prediction: if every interpreter smooths rectifiers, take the logits from a pass of their own, with
                exact ones; the gradient of the prediction is then exact.

        Returns:
            The reading, and the states after this step.

        Raises:
            InterpreterError: a view returns something other than maps.
        """
        apart = exact_prediction and None not in self._groups
        said = self.look(images, graph) if apart else None
        looks: dict[str, Tensor] = {}
        terms: dict[str, Tensor] = {}
        states = dict(states)
        for smoothing, names in self._groups.items():
            recorded = self._later(partial(self._record, images, smoothing, names, graph), graph)
            said = said or recorded
            classes = choose(said)
            for name in names:
                view, state = self.views[name], states[name]
                read = view.read(self.prepared, recorded, images, classes, state, graph)
                looks[name], states[name] = maps_and_state(read, len(images), name)
                for term, values in view.terms(recorded, classes, states[name]).items():
                    terms[term] = terms[term] + values if term in terms else values
        assert said is not None
        return Reading(said, {name: looks[name] for name in self.views}, terms), states

    def due(self, step: int, within: int) -> list[str]:
        """Return the names of the views to refresh before this step of a stage, ``within`` steps apart at most."""
        return [name for name, view in self._drifting.items() if step % min(view.refresh_every, within) == 0]

    def refresh(
        self, images: Tensor, choose: Choose, states: dict[str, State], names: Iterable[str] | None = None
    ) -> dict[str, State]:
        """Bring views up to date with ``images``, and return the states after that.

        Args:
            names: names of the views; all drifting views if None.
        """
        names = list(self._drifting if names is None else names)
        classes = choose(self.look(images)) if names else None
        states = dict(states)
        for name in names:
            assert classes is not None
            states[name] = self.views[name].refresh(self.prepared, images, classes, states[name])
        return states
