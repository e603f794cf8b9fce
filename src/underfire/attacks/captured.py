"""Steps that are recorded once as a CUDA graph and then repeated.

A small network's step is hundreds of short operations, and a GPU waits for Python to start each of them. A CUDA graph
starts all of them at once. It repeats the recorded operations on the same memory, so the state of the attack stays in
the same tensors ("static" ones), and numbers that change from step to step are read from a table on the device.

The recorded step is the eager step: the same function, with the same bits. Whatever needs Python between steps stays
outside of it: refreshes, traces, early stop, progress.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from underfire.attacks.numbers import NumberTable, StepNumbers
from underfire.attacks.schedule import Stage
from underfire.attacks.state import Carried
from underfire.attacks.trace import Seen, Trace
from underfire.classifiers import Attackable, Prepared
from underfire.errors import UnderfireError, warn
from underfire.interpreters import View
from underfire.system import SystemView
from underfire.user_parts import is_own

LEAST_STEPS = 32
"""Shorter stages are not recorded: recording takes the time of some steps."""

WARM_UP = 2
"""Steps before the recording, on a copy of the state: libraries set themselves up in their first calls."""

Work = Callable[[], None]
Step = Callable[[bool, StepNumbers], Seen | None]
"""Makes one step on the carried state, and returns what the trace needs of it if the first argument is True."""


class Recorder(Protocol):
    """Records work on a device."""

    def record(self, work: Work, warm_up: Work) -> Work:
        """Record ``work`` after some calls of ``warm_up``, and return a function that repeats it.

        Whether recording also does the work is left open. A RuntimeError says that it cannot be recorded.
        """


class CudaRecorder:
    """Records work on a GPU as a CUDA graph.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def record(self, work: Work, warm_up: Work) -> Work:
        with torch.cuda.device(self.device):
            beside, present = torch.cuda.Stream(), torch.cuda.current_stream()
            beside.wait_stream(present)
            with torch.cuda.stream(beside):
                for _ in range(WARM_UP):
                    warm_up()
            present.wait_stream(beside)
            graph, pool = torch.cuda.CUDAGraph(), torch.cuda.graph_pool_handle()
            try:
                with torch.cuda.graph(graph, pool, beside, capture_error_mode="thread_local"):
                    work()
            except BaseException:  # whatever it is, torch leaves its own stream and memory pool in force then
                torch.cuda.set_stream(present)
                with suppress(AttributeError, RuntimeError):
                    torch._C._cuda_endAllocateToPool(present.device_index, pool)
                raise
        return graph.replay


def recorder_for(device: torch.device) -> Recorder | None:
    """Return the recorder of a device; None on a CPU, whose steps are made operation by operation."""
    return CudaRecorder(device) if device.type == "cuda" else None


def may_be_recorded(stage: Stage, view: SystemView, maps: bool, parts: Sequence[object]) -> bool:
    """Return True if all steps of a stage are the same operations, so that one recording stands for all of them.

    Guards search for a step size, and drifting views are refreshed. Parts and views of the user's own may do anything
    in Python that a recording would not repeat.

    Args:
        stage: the stage.
        view: the system.
        maps: True if the stage reads maps.
        parts: the parts of the attack that act in every step.
    """
    terms = [weighted.term for move in stage.moves for weighted in move.terms]
    used = [*parts, *(move.rule for move in stage.moves), *terms]
    views = view.views.values() if maps else ()
    return (
        view.records_steps
        and stage.steps >= LEAST_STEPS
        and isinstance(view.prepared, Prepared)
        and not any(move.guard for move in stage.moves)
        and not any(is_own(part) for part in used)
        and all(term.steps_alike for term in terms)
        and all(_alike(each) for each in views)
    )


def _alike(view: View) -> bool:
    """Return True if all readings of a view are the same operations. A view of the user's own comes wrapped."""
    if not isinstance(view, View) or not view.steps_alike or view.refresh_every:
        return False
    return not is_own(getattr(view, "interpreter", view))


def steps_of(
    step: Step,
    stage: Stage,
    before: int,
    carried: Carried,
    view: SystemView,
    maps: bool,
    parts: Sequence[object],
    trace: Trace | None,
) -> Callable[[int], Seen | None]:
    """Return a function that makes a step of a stage, by its number in the stage.

    Args:
        step: makes a step, and replaces tensors in ``carried``.
        stage: the stage.
        before: the steps of all stages before.
        carried: the state of the attack.
        view: the system.
        maps: True if the stage reads maps.
        parts: the parts of the attack that act in every step.
        trace: the trace of the attack; None if there is none.
    """
    recorder = recorder_for(carried.images.device)
    if recorder is not None and may_be_recorded(stage, view, maps, parts):
        return RecordedStep(partial(step, trace is not None), carried, stage, before, view, recorder)

    def eager(index: int) -> Seen | None:
        traced = trace is not None and trace.wants(before + index)
        return step(traced, StepNumbers.of(stage, index, before))

    return eager


class RecordedStep:
    """The steps of a stage: the first one eager, the second one recorded, and from there on repeated.

    If the state gets other shapes, because images have left, the step is recorded again. If it cannot be recorded, all
    steps are eager, with one warning.

    Args:
        step: makes a step, and replaces tensors in ``carried``. It waits for nothing, and depends on no Python value
            that changes from step to step.
        carried: the state of the attack.
        stage: the stage.
        before: the steps of all stages before.
        view: the system; it counts the passes. After a failure, its steps are not recorded any more.
        recorder: records work on the device.
    """

    def __init__(
        self,
        step: Callable[[StepNumbers], Seen | None],
        carried: Carried,
        stage: Stage,
        before: int,
        view: SystemView,
        recorder: Recorder,
    ) -> None:
        self._step, self._carried, self._view, self._recorder = step, carried, view, recorder
        self._stage, self._before = stage, before
        self._table = NumberTable(stage, before, carried.images.device)
        self._static: dict[str, Tensor] = {}
        self._repeat: Work | None = None
        self._seen: Seen | None = None
        self._passes = (0, 0)

    def __call__(self, index: int) -> Seen | None:
        """Make the step ``index`` of the stage."""
        if index and self._view.records_steps and self._shapes_differ():
            self._record()
        if index == 0 or self._repeat is None:
            return self._step(StepNumbers.of(self._stage, index, self._before))
        for name, tensor in self._carried.leaves().items():
            if tensor is not self._static[name]:
                self._static[name].copy_(tensor)
        self._carried.replace(self._static)
        self._table.choose(index)
        self._repeat()
        prepared = self._view.prepared
        prepared.forwards += self._passes[0]
        prepared.backwards += self._passes[1]
        return self._seen

    def _shapes_differ(self) -> bool:
        now = self._carried.leaves()
        if all(tensor is self._static.get(name) for name, tensor in now.items()):
            return False
        return _shapes(now) != _shapes(self._static)

    def _record(self) -> None:
        """Record a step on copies of the state, which take its place. The values of the state stay as they are."""
        carried, prepared = self._carried, self._view.prepared
        self._repeat, self._seen, self._static = None, None, {}  # frees the memory of a former recording
        held, passes = carried.leaves(), (prepared.forwards, prepared.backwards)
        try:
            static = {name: tensor.detach().clone() for name, tensor in held.items()}
            self._repeat = self._recorder.record(lambda: self._work(static), lambda: self._warm_up(static))
            self._static = static
        except (RuntimeError, UnderfireError) as error:  # torch has no class of its own for work that is not recorded
            self._repeat, self._seen = None, None
            self._view.records_steps = False
            warn(
                f"the steps of this attack cannot be recorded as a CUDA graph ({_first_cause(error)}). They are made "
                "one operation at a time instead: the results are the same, and small networks take longer."
            )
        finally:
            _set_passes(prepared, passes)
            carried.replace(held)
        for name, tensor in self._static.items():
            tensor.copy_(held[name])
        carried.replace(self._static or held)

    def _warm_up(self, static: dict[str, Tensor]) -> None:
        """Make a step on the static tensors and forget it."""
        self._carried.replace(static)
        self._step(self._table.read())

    def _work(self, static: dict[str, Tensor]) -> None:
        """Make a step on the static tensors, and write the new state into them."""
        carried, prepared = self._carried, self._view.prepared
        carried.replace(static)
        passes = prepared.forwards, prepared.backwards
        self._seen = self._step(self._table.read())
        self._passes = (prepared.forwards - passes[0], prepared.backwards - passes[1])
        new = carried.leaves()
        if _shapes(new) != _shapes(static):
            raise RuntimeError("the state of the attack does not keep its shapes")
        for name, tensor in new.items():
            if tensor is not static[name]:
                static[name].copy_(tensor.detach())


def _shapes(leaves: dict[str, Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in leaves.items()}


def _first_cause(error: BaseException) -> str:
    """Return the first line of the error that led to ``error``: the end of a failed recording raises one more."""
    while error.__context__ is not None:
        error = error.__context__
    return f"{type(error).__name__}: {error}".partition("\n")[0][:200]


def _set_passes(prepared: Attackable, passes: tuple[int, int]) -> None:
    prepared.forwards, prepared.backwards = passes
