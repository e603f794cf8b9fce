"""The generic attack loop: stages, moves and guards. It knows no interpreter or perturbation by name."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import partial

import torch
from torch import Tensor

from underfire.attacks.aim import Aim
from underfire.attacks.captured import steps_of
from underfire.attacks.guards import begun, largest
from underfire.attacks.numbers import StepNumbers, per_row
from underfire.attacks.objective import objective
from underfire.attacks.outcome import Outcome
from underfire.attacks.parts import Parts
from underfire.attacks.perturbations.base import penalty_of
from underfire.attacks.pricing import first_prices, repriced
from underfire.attacks.progress import Progress
from underfire.attacks.ranking import EarlyStop
from underfire.attacks.schedule import Move, Stage
from underfire.attacks.shaping import Uniform, weights_of
from underfire.attacks.state import Carried
from underfire.attacks.terms.base import Point
from underfire.attacks.trace import Seen, Trace
from underfire.batching import filled_size, padding
from underfire.classifiers import Recorded
from underfire.interpreters import State
from underfire.system import Reading, SystemView
from underfire.user_parts import guarded


class Loop:
    """One attack on one batch of images.

    Args:
        attack: the parts of the attack.
        view: the system, differentiable.
        images: benign images N x C x H x W on the 8-bit grid, on the system's device.
        aim: the target classes and target maps of the images; without maps if nothing reads them.
        ids: int64 N, the images' identities.
        seed: of random starts.
        batch_size: the number of images in a full batch, see ``batching.filled_size``; that of ``images`` if None.
        constant: N, the weight of the objective against the perturbation's penalty for each image; 1 if None.
        progress: called after each step with the steps done and their number.
        trace_every: record the course every so many steps; never if None.
    """

    def __init__(
        self,
        attack: Parts,
        view: SystemView,
        images: Tensor,
        aim: Aim,
        ids: Tensor,
        *,
        seed: int,
        batch_size: int | None = None,
        constant: Tensor | None = None,
        progress: Progress | None = None,
        trace_every: int | None = None,
    ) -> None:
        self.attack, self.goal, self.view, self.progress = attack, attack.goal, view, progress
        self.perturbation = guarded(attack.perturbation, "perturbation")
        self.count, self.batch_size = len(images), batch_size or len(images)
        fill = padding(self.count, filled_size(self.count, self.batch_size, images.device), images.device)
        images = images[fill]
        theta = self.perturbation.start(images, self._weights(attack.stages[0], images), ids[fill], seed)
        row = torch.arange(len(fill), device=images.device)
        row = torch.where(row < self.count, row, -1)
        price = images.new_ones(len(fill)) if constant is None else 1 / constant[fill]
        wanted = {name: maps[fill] for name, maps in aim.maps.items()}
        self.run_state = Carried(row, images, aim.classes[fill], ids[fill], wanted, price, theta)
        self.run_state.counts = dict.fromkeys(("steps", "forwards", "backwards"), row.new_zeros(len(fill)))
        self.run_state.best = attack.kept_by.start(images)
        self.run_state.prices = first_prices(attack.pricing, images)
        self.run_state.wanted = {} if aim.probabilities is None else {"probabilities": aim.probabilities[fill]}
        self.outcome = Outcome.empty(images[: self.count], trace_every)
        self.step, self.total, self.shaped = 0, attack.steps, attack.stages[0].shaped
        self.aside = 0.0  # seconds spent for the trace alone

    def __call__(self) -> Outcome:
        started = time.perf_counter()
        for stage in self.attack.stages:
            self._stage(stage, last=stage is self.attack.stages[-1])
            if not len(self.run_state.row):
                break
        if len(self.run_state.row):
            self._final()
        if self.outcome.images.is_cuda:
            torch.cuda.synchronize()
        self.outcome.seconds = time.perf_counter() - started - self.aside
        return self.outcome

    def _weights(self, stage: Stage, images: Tensor) -> Tensor:
        return weights_of(self.attack.shaping if stage.shaped else Uniform(), images)

    def _stage(self, stage: Stage, last: bool) -> None:
        run, attack, trace = self.run_state, self.attack, self.outcome.trace
        if stage.shaped != self.shaped:
            run.theta = self.perturbation.reshaped(run.theta, self._weights(stage, run.images))
            self.shaped = stage.shaped
        variable = self.perturbation.variable(run.theta)
        maps = stage.reads_maps or (last and attack.kept_by.needs_maps)
        if maps and not run.views:
            run.views = self.view.begin(self._image().detach(), run.classes, run.ids)
        run.rules = {str(i): move.rule.start(variable) for i, move in enumerate(stage.moves)}
        if any(move.guard for move in stage.moves):
            before = self._passes()
            with torch.no_grad():
                run.guards = begun(stage.moves, self.view.logits(self._image()), run.classes, self.goal)
            self._count(before, steps=0)
        stop = attack.early_stop if last else None
        step_of = partial(self._step, stage, last, maps)
        make = steps_of(step_of, stage, self.step, run, self.view, maps, attack.acting, trace)
        for step in range(stage.steps):
            if maps and (due := self.view.due(step, stage.refresh_within)):
                before = self._passes()
                self._refresh(due, ranks=last)
                self._count(before, steps=0)
            seen = make(step)
            if seen is not None and trace is not None and trace.wants(self.step):
                self._trace(trace, stage, seen)
            self.step += 1
            if self.progress is not None:
                self.progress(self.step, self.total)
            if stop is not None and stop.looks(step, stage.steps):
                self._let_go(stop, step, stage.steps)
                if not len(run.row):
                    break
        if trace is not None:
            trace.fetch()

    def _step(self, stage: Stage, last: bool, maps: bool, traced: bool, numbers: StepNumbers) -> Seen | None:
        """Make all moves of one step, and return what the trace needs if ``traced``."""
        before, seen = self._passes(), None
        for index, move in enumerate(stage.moves):
            seen = self._move(stage, move, str(index), numbers, last, maps, traced) or seen
        self._count(before, steps=1)
        return seen

    def _refresh(self, names: Iterable[str] | None, ranks: bool) -> None:
        """Refresh the drifting views on the image at 8 bits, and rank this image by their maps.

        All views read that image. If some drifting views are not due, their maps would not be the honest ones, and
        nothing is ranked.
        """
        run = self.run_state
        image = self.perturbation.levels(run.images, self._image().detach())
        run.views = self.view.refresh(image, self._choose, run.views, names)
        if not ranks or (names is not None and {*names} != {*self.view.due(0, 1)}):
            return
        variable = self.perturbation.variable(run.theta)
        with torch.enable_grad():
            point, _ = self._point(image.requires_grad_(), variable, maps=True, graph=False)
        self._rank(point, image, self.step)

    def _rank(self, point: Point, image: Tensor, step: int | Tensor) -> None:
        run, stop = self.run_state, self.attack.early_stop
        tolerance = stop.tolerance if stop else 0.0
        run.best = self.attack.kept_by.update(run.best, point, image.detach(), step, tolerance)

    def _choose(self, recorded: Recorded) -> Tensor:
        """Choose the classes that the maps explain. A targeted goal does not need the forward pass for that."""
        classes = self.run_state.classes
        return classes if self.goal.targeted else self.goal.explained(recorded.logits.detach(), classes)

    def _move(
        self, stage: Stage, move: Move, index: str, numbers: StepNumbers, last: bool, maps: bool, traced: bool
    ) -> Seen | None:
        run, perturbation = self.run_state, self.perturbation
        variable = perturbation.variable(run.theta).detach().requires_grad_()
        image = perturbation.image(run.theta, variable)
        reads = int(index) == stage.reader
        ranks = reads and not (maps and self.view.drifts)
        point, run.views = self._point(image, variable, maps and (ranks or move.reads_maps), graph=True)
        values, loss = objective(move, point, numbers.weights[int(index)], run.prices)
        (gradient,) = torch.autograd.grad(loss, variable)
        gradient = torch.nan_to_num(gradient, 0.0, 0.0, 0.0)  # an image without a gradient stays as it is, and fails
        if ranks and last:
            self._rank(point, image, numbers.step)
        elif reads and last and self.attack.pricing is not None:  # its images go to and fro across the boundary
            run.best = self.attack.kept_by.reach(run.best, point, image.detach(), numbers.step)
        run.prices = repriced(self.attack.pricing, run.prices, point) if reads else run.prices
        seen = self._note(values, point) if reads and traced else None
        direction, run.rules[index] = move.rule.direction(gradient, run.rules[index])
        size = per_row(numbers.sizes[int(index)], gradient)
        if move.guard is not None:
            size = self._largest(move, index, direction, size)
        run.theta = perturbation.move(run.theta, direction, size)
        return seen

    def _point(
        self, image: Tensor, variable: Tensor, maps: bool, graph: bool, states: dict[str, State] | None = None
    ) -> tuple[Point, dict[str, State]]:
        run = self.run_state
        states = run.views if states is None else states
        if maps:
            exact = self.attack.exact_prediction_gradient
            reading, states = self.view.read(image, self._choose, states, graph=graph, exact_prediction=exact)
        else:
            reading = Reading(self.view.look(image, graph), {}, {})
        penalty = penalty_of(self.perturbation, run.theta, variable, image)
        aim = (run.classes, self.goal, run.targets)
        point = Point(image, reading, *aim, penalty, run.price, self._run, run.wanted.get("probabilities"))
        return point, states

    def _run(self, images: Tensor) -> Tensor:
        """Run the network for a loss term, and count the backward pass that will follow."""
        self.view.prepared.backwards += torch.is_grad_enabled() and images.requires_grad
        return self.view.prepared.run(images)

    def _largest(self, move: Move, index: str, direction: Tensor, size: Tensor) -> Tensor:
        """Find the largest step size per image, between 0 and ``size``, after which the move's guard holds."""
        run, guard = self.run_state, move.guard
        assert guard is not None

        def holds(candidate: Tensor) -> Tensor:
            theta = self.perturbation.move(run.theta, direction, candidate)
            image = self.perturbation.image(theta, self.perturbation.variable(theta))
            return guard.holds(self.view.logits(image), run.classes, self.goal, run.guards[index])

        with torch.no_grad():
            return largest(size, holds, guard.iterations)

    def _image(self) -> Tensor:
        theta = self.run_state.theta
        return self.perturbation.image(theta, self.perturbation.variable(theta))

    def _passes(self) -> tuple[int, int]:
        return self.view.prepared.forwards, self.view.prepared.backwards

    def _count(self, before: tuple[int, int], steps: int) -> None:
        """Add ``steps``, and the passes since ``before``, to the counts of every image that took part."""
        counts, real = self.run_state.counts, (self.run_state.row >= 0).long()
        forwards, backwards = (now - then for now, then in zip(self._passes(), before, strict=True))
        added = {"steps": steps, "forwards": forwards, "backwards": backwards}
        self.run_state.counts = {name: counts[name] + real * number for name, number in added.items()}

    def _let_go(self, stop: EarlyStop, step: int, steps: int) -> None:
        """Write down finished images, and shrink the batch if groups of eight can leave (on a GPU: all images)."""
        run = self.run_state
        idle = self.step - run.best["improved"]
        finished = (run.row >= 0) & stop.finished(run.best, step, steps, idle, self.view.patience)
        if not bool(finished.any()):
            return
        self.outcome.write(run, finished, self._image())
        run.row = torch.where(finished, -1, run.row)
        active = (run.row >= 0).nonzero().squeeze(1)
        size = filled_size(len(active), self.batch_size, run.row.device)
        if size < len(run.row):
            gone = (run.row < 0).nonzero().squeeze(1)
            run.take(torch.cat([active, gone[: size - len(active)]]))

    def _final(self) -> None:
        """Read the images after the last move, then write down all that are still in the batch."""
        run = self.run_state
        variable = self.perturbation.variable(run.theta).detach().requires_grad_()
        image = self.perturbation.image(run.theta, variable)
        maps = self.attack.kept_by.needs_maps
        if maps and not run.views:
            run.views = self.view.begin(image.detach(), run.classes, run.ids)
        before = self._passes()
        if maps and self.view.drifts:
            self._refresh(None, ranks=True)
        else:
            with torch.set_grad_enabled(maps):
                point, _ = self._point(image, variable, maps, graph=False)
            self._rank(point, image, self.step)
        self._count(before, steps=0)
        self.outcome.write(run, run.row >= 0, self._image())

    def _note(self, values: Sequence[Tensor], point: Point) -> Seen:
        """Keep what the trace needs of a point. A pass that is made for the trace alone does not count."""
        before = self._passes()
        seen = Seen.of(values, point)
        self.view.prepared.forwards, self.view.prepared.backwards = before
        return seen

    def _trace(self, trace: Trace, stage: Stage, seen: Seen) -> None:
        """Record the state of the attack. Passes for the trace alone count neither as passes nor as seconds."""
        prepared, before, started = self.view.prepared, self._passes(), time.perf_counter()
        maps, run = seen.maps if seen.image is None else self._maps_aside(seen.image), self.run_state
        columns = seen.columns(stage.moves[stage.reader].terms, self.goal, run.classes, maps, run.targets)
        trace.add(self.step, stage.name, run.row, columns)
        prepared.forwards, prepared.backwards = before
        self.aside += time.perf_counter() - started

    def _maps_aside(self, image: Tensor) -> dict[str, Tensor]:
        """Read maps for the trace alone; none if they would have to be solved for."""
        if self.view.drifts:
            return {}
        run = self.run_state
        states = run.views or self.view.begin(image, run.classes, run.ids)
        image = image.detach().requires_grad_()
        point, _ = self._point(image, image, maps=True, graph=False, states=states)
        return {name: maps.detach() for name, maps in point.reading.maps.items()}
