"""A classifier coupled with its interpreters: what is attacked, and what an analyst looks at."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from underfire.classifiers import Classifier, Prepared
from underfire.errors import InputError
from underfire.interpreters import Interpreter, Smoothing, SmoothRectifiers, State, View, create

Choose = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Reading:
    """What a system says about images for classes: logits N x K, maps N x h x w by interpreter, and the terms that
    interpreters add to an attack's objective, N each, by name."""

    logits: Tensor
    maps: dict[str, Tensor]
    terms: dict[str, Tensor]


class System:
    """One classifier and one or more interpreters.

    Args:
        classifier: a ``Classifier``, or any ``nn.Module`` that takes pixels in [0, 1].
        interpreters: one, several, or a mapping of names to them (needed for two of one kind). A name stands for the
            interpreter with its default parameters.
    """

    def __init__(
        self,
        classifier: Classifier | nn.Module,
        interpreters: Interpreter | str | Sequence[Interpreter | str] | Mapping[str, Interpreter],
    ) -> None:
        self.classifier = classifier if isinstance(classifier, Classifier) else Classifier(classifier)
        if isinstance(interpreters, Interpreter | str):
            interpreters = [interpreters]
        if not isinstance(interpreters, Mapping):
            made = [create(part) if isinstance(part, str) else part for part in interpreters]
            named = {interpreter.name: interpreter for interpreter in made}
            if len(named) != len(made):
                raise InputError(
                    f"interpreters has two of one kind ({[part.name for part in made]}); give them names with "
                    "a mapping: {'fine': Grad(pool=1), 'coarse': Grad(pool=4)}."
                )
            interpreters = named
        if not interpreters:
            raise InputError("interpreters is empty; a system needs at least one.")
        self.interpreters: dict[str, Interpreter] = dict(interpreters)

    def maps(self, images: Tensor, classes: Tensor, ids: Tensor | None = None) -> dict[str, Tensor]:
        """The honest maps N x h x w of every interpreter."""
        return {
            name: interpreter.maps(self.classifier, images, classes, ids=ids)
            for name, interpreter in self.interpreters.items()
        }

    def view(self, precision: str = "float32", size: Sequence[int] | None = None) -> SystemView:
        """The differentiable view of the whole system, on a prepared copy of the classifier.

        ``size``: height and width of the images that it is for, where the classifier does not say them itself.
        """
        views = {name: interpreter.view() for name, interpreter in self.interpreters.items()}
        in_place = all(view.smoothing is None for view in views.values())
        return SystemView(self.classifier.prepare(precision, in_place=in_place, size=size), views)

    def __repr__(self) -> str:
        return f"System({self.classifier!r}, {list(self.interpreters.values())})"


class SystemView:
    """What an attack reads: one forward pass for the logits and for all interpreters that can share it."""

    def __init__(self, prepared: Prepared, views: Mapping[str, View]) -> None:
        self.prepared = prepared
        self.views = dict(views)
        self._groups: dict[Smoothing | None, list[str]] = {}
        # Exact rectifiers first: where a pass with them is made at all, the prediction term uses it.
        for name, view in sorted(self.views.items(), key=lambda item: item[1].smoothing is not None):
            self._groups.setdefault(view.smoothing, []).append(name)

    def begin(self, images: Tensor, classes: Tensor, ids: Tensor) -> dict[str, State]:
        """State by interpreter, at the start of a stage that reads maps."""
        return {name: view.begin(self.prepared, images, classes, ids) for name, view in self.views.items()}

    def logits(self, images: Tensor) -> Tensor:
        """Logits alone, with exact rectifiers: one forward pass, nothing recorded."""
        return self.prepared.run(images)

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
            choose: logits -> the classes that the maps explain, int64 N.
            graph: whether the maps will be differentiated.
            exact_prediction: take the logits from a pass of their own where every interpreter smooths rectifiers,
                so that the prediction term's gradient is the exact one (one more forward and backward).
        """
        apart = exact_prediction and None not in self._groups
        logits = self.prepared.run(images) if apart else None
        if graph:  # one backward pass is the caller's; each further pass through the network costs one more
            self.prepared.backwards += len(self._groups) - 1 + apart
        maps: dict[str, Tensor] = {}
        terms: dict[str, Tensor] = {}
        states = dict(states)
        for smoothing, names in self._groups.items():
            mode = None if smoothing is None else SmoothRectifiers(smoothing)
            recorded = self.prepared.record(images, mode, scales=any(self.views[name].scales for name in names))
            logits = recorded.logits if logits is None else logits
            classes = choose(logits.detach())
            for name in names:
                view, state = self.views[name], states[name]
                maps[name], states[name] = view.read(self.prepared, recorded, images, classes, state, graph)
                for term, values in view.terms(recorded, classes, states[name]).items():
                    terms[term] = terms[term] + values if term in terms else values
        assert logits is not None
        return Reading(logits, {name: maps[name] for name in self.views}, terms), states

    def refresh(self, images: Tensor, classes: Tensor, states: dict[str, State], step: int) -> dict[str, State]:
        """Refresh the views whose turn it is after ``step`` steps."""
        states = dict(states)
        for name, view in self.views.items():
            if view.refresh_every and step and step % view.refresh_every == 0:
                states[name] = view.refresh(self.prepared, images, classes, states[name])
        return states
