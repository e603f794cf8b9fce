"""The search of ``square`` on one batch of images."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from underfire.attacks.aim import Aim
from underfire.attacks.benign import Benign
from underfire.attacks.outcome import Outcome
from underfire.attacks.progress import Progress
from underfire.attacks.schedule import Weighted
from underfire.attacks.square.candidates import candidate, whole_levels
from underfire.attacks.terms.base import Evading, Point, values_of
from underfire.batching import filled_size, padding
from underfire.classifiers import Recorded
from underfire.system import Reading, SystemView
from underfire.user_parts import guarded

STAGE = "search"
"""The name of the one stage, in traces."""

NOTHING, MET, UNNOTICED = 0, 1, 3
"""The level of an image that does not meet the goal, that meets it, and that no detector would notice besides."""


@dataclass
class _Answers:
    """The answers about N images.

    Args:
        level: int64 N: ``NOTHING``, ``MET`` or ``UNNOTICED``.
        value: N; of two images with one level, the one with the smaller value is better.
        distances: by interpreter, N in [0, 1]: the distance of its map to the wanted one; NaN if it was not read.
    """

    level: Tensor
    value: Tensor
    distances: dict[str, Tensor]

    def put(self, rows: Tensor, other: _Answers, chosen: Tensor) -> None:
        """Take over those of ``other`` that are ``chosen`` (bool M), for the images at ``rows`` (int64 M)."""
        at = rows[chosen]
        self.level = self.level.index_copy(0, at, other.level[chosen])
        self.value = self.value.index_copy(0, at, other.value[chosen])
        for name, values in other.distances.items():
            self.distances[name] = self.distances[name].index_copy(0, at, values[chosen])


class Searching:
    """One search.

    Args:
        name: of the attack; random numbers are drawn under it.
        queries, eps, terms: as in ``Square``.
        view: the system. Only its answers are looked at.
        benign, aim: all images, and what is wanted of them.
        rows: the images of this batch.
        batch_size: the images of a full batch; passes are filled up to it, see ``batching.filled_size``.
        seed: of all random numbers.
    """

    def __init__(
        self,
        name: str,
        queries: int,
        eps: float,
        terms: Sequence[Weighted],
        view: SystemView,
        *,
        benign: Benign,
        aim: Aim,
        rows: slice,
        batch_size: int,
        seed: int,
    ) -> None:
        self.name, self.queries, self.levels, self.terms = name, queries, whole_levels(eps), terms
        self.view, self.seed, self.batch_size = view, seed, batch_size
        self.images, self.ids, self.aim = benign.images[rows], benign.ids[rows], aim.part(rows)

    def __call__(self, progress: Progress | None, trace_every: int | None) -> Outcome:
        """Search, and return the best images at 8 bits."""
        started, queries, count = time.perf_counter(), self.queries, len(self.images)
        outcome = Outcome.empty(self.images, trace_every)
        every = torch.arange(count, device=self.images.device)
        best, known = self.images, self._unknown(count)
        for query in range(queries):
            tried = candidate(
                self.images, best, self.ids, self.levels, query, queries, seed=self.seed, purpose=self.name
            )
            found = self._answers(tried, outcome)
            better = (found.level > known.level) | ((found.level == known.level) & (found.value < known.value))
            best = torch.where(better.view(-1, 1, 1, 1), tried, best)
            known.put(every, found, better)
            outcome.best_step = torch.where(better & (found.level > NOTHING), query, outcome.best_step)
            if outcome.trace is not None and outcome.trace.wants(query):
                outcome.trace.add(query, STAGE, every, _columns(known))
            if progress is not None:
                progress(query + 1, queries)
        if outcome.trace is not None:
            outcome.trace.fetch()
        reached = known.level > NOTHING
        outcome.images, outcome.last, outcome.level = best, best, known.level
        outcome.value = torch.where(reached, known.value, torch.inf)
        outcome.steps += queries
        outcome.seconds = time.perf_counter() - started
        return outcome

    def _unknown(self, count: int) -> _Answers:
        nothing = self.images.new_full((count,), torch.inf)
        level = torch.zeros(count, dtype=torch.int64, device=self.images.device)
        return _Answers(level, nothing, {name: torch.full_like(nothing, torch.nan) for name in self.view.views})

    def _answers(self, images: Tensor, outcome: Outcome) -> _Answers:
        """Ask for logits, and for maps and scores where the goal is met. The passes are counted in ``outcome``."""
        goal, every = self.aim.goal, torch.arange(len(images), device=images.device)
        with self._counted(outcome, every), torch.no_grad():
            logits = self.view.logits(images[self._filled(every)])[: len(images)]
        found = self._unknown(len(images))
        found.value = goal.margin(logits, self.aim.classes)
        rows = goal.reached(logits, self.aim.classes).nonzero().flatten()
        if len(rows):
            with self._counted(outcome, rows):
                read = self._read(images, rows)
            found.put(rows, read, torch.ones_like(rows, dtype=torch.bool))
        return found

    def _read(self, images: Tensor, rows: Tensor) -> _Answers:
        """Read the maps of images that meet the goal, and what detectors say of them."""
        goal, fill = self.aim.goal, self._filled(rows)
        image, classes = images[fill].requires_grad_(), self.aim.classes[fill]

        def choose(recorded: Recorded) -> Tensor:
            return goal.explained(recorded.logits.detach(), classes)

        states = self.view.begin(image.detach(), classes, self.ids[fill])
        if self.view.drifts:
            states = self.view.refresh(image.detach(), choose, states)
        reading, _ = self.view.read(image, choose, states, graph=False)
        with torch.no_grad():
            return self._judged(image.detach(), reading, classes, fill, len(rows))

    def _judged(self, image: Tensor, reading: Reading, classes: Tensor, fill: Tensor, count: int) -> _Answers:
        aim, none = self.aim, image.new_zeros(len(image))
        wanted = {name: aim.maps[name][fill] for name in self.view.views}
        probabilities = None if aim.probabilities is None else aim.probabilities[fill]
        point = Point(
            *(image, reading, classes, aim.goal, wanted, none, none + 1, self.view.prepared.run, probabilities)
        )
        distances = {name: (reading.maps[name] - maps).abs().mean((1, 2)) for name, maps in wanted.items()}
        value, noticed = torch.stack([*distances.values()]).mean(0), none > 0
        for each in self.terms:
            if not isinstance(each.term, Evading):
                value = value + each.weight_at(0) * values_of(each.term, point)
        evading = [(each.term, each.weight_at(0)) for each in self.terms if isinstance(each.term, Evading)]
        for term, _ in evading:
            noticed = noticed | ~guarded(term, "term").evades(point)
        for term, weight in evading:
            value = torch.where(noticed, value + weight * values_of(term, point), value)
        level = torch.where(noticed, MET, UNNOTICED if evading else MET)
        value = torch.where(value.isnan(), torch.inf, value)
        return _Answers(level[:count], value[:count], {name: each[:count] for name, each in distances.items()})

    def _filled(self, rows: Tensor) -> Tensor:
        """Return the images at ``rows``, with others behind them up to the size of a full batch."""
        return rows[padding(len(rows), filled_size(len(rows), self.batch_size, rows.device), rows.device)]

    @contextmanager
    def _counted(self, outcome: Outcome, rows: Tensor) -> Iterator[None]:
        """Context that adds the passes made in it to the counts of the images at ``rows``."""
        prepared = self.view.prepared
        forwards, backwards = prepared.forwards, prepared.backwards
        yield
        outcome.forwards[rows] += prepared.forwards - forwards
        outcome.backwards[rows] += prepared.backwards - backwards


def _columns(known: _Answers) -> dict[str, Tensor]:
    """Return what a trace records of the best images so far."""
    found = {"success": (known.level > NOTHING).float(), "loss_search": known.value}
    return found | {f"map_l1/{name}": values for name, values in known.distances.items()}
