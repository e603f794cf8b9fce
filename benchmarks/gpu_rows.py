"""The rows of ``python -m benchmarks.gpu``: what each measures, and how."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

import underfire as uf
from benchmarks import EPS, Normalised, Subject, bare_double, bare_gradient, load_subject, run_on
from benchmarks.gpu_clock import Clock, StepMarks, clock_of, ratio, take_turns, time_of
from benchmarks.gpu_table import Line, Values
from benchmarks.speed import PEERS
from underfire.attacks import captured, preset
from underfire.attacks.benign import Benign, read_benign
from underfire.interpreters import create
from underfire.memory import counting
from underfire.numerics import attacking
from underfire.system import SystemView

FIRST = 8
"""Steps of an attack before its times count: the first one is eager, and before the second one the step is recorded."""


@dataclass(frozen=True)
class Effort:
    """Batches, steps and turns.

    Args:
        batches: images at once by network.
        sides: height and width of images by network.
        steps: steps of a measured attack by network; at least ``captured.LEAST_STEPS``, so that steps are recorded.
        turns: turns of each contestant.
        peer_batch: images at once on the large network, if the original network is measured, too.
    """

    batches: dict[str, int]
    sides: dict[str, int]
    steps: dict[str, int]
    turns: int
    peer_batch: int


SIDES = {"cifar": 32, "resnet50": 224, "lite0": 224}
FULL = Effort({"cifar": 256, "resnet50": 256, "lite0": 8}, SIDES, {"cifar": 208, "resnet50": 48}, 5, 64)
QUICK = Effort({"cifar": 256, "resnet50": 64, "lite0": 8}, SIDES, {"cifar": 72, "resnet50": 40}, 2, 32)
TINY = Effort(
    {"cifar": 8, "resnet50": 8, "lite0": 8},
    {"cifar": 32, "resnet50": 64, "lite0": 64},
    {"cifar": FIRST + 2, "resnet50": FIRST + 2},
    1,
    8,
)


class Bench:
    """The device, the clock and the networks of all rows.

    Args:
        device: where it is measured.
        effort: batches, steps and turns.
    """

    def __init__(self, device: torch.device, effort: Effort) -> None:
        self.device, self.effort = device, effort
        self.clock: Clock = clock_of(device)
        self.subject = functools.lru_cache(maxsize=1)(self._subject)  # the next row often needs the same network

    def _subject(self, network: str, batch: int | None = None) -> Subject:
        batch, side = batch or self.effort.batches[network], self.effort.sides[network]
        return load_subject(network, batch, device=self.device, side=side)

    def start(
        self, network: str, interpreter: str, precision: str, compile: bool = False, batch: int | None = None
    ) -> tuple[Subject, SystemView, Benign]:
        """Prepare a network, and read its images."""
        subject = self.subject(network, batch)
        system, size = subject.system(interpreter), subject.images.shape[2:]
        return subject, system.view(precision, size, compile), read_benign(system, subject.images, subject.labels)

    def batch_of_two(self, network: str) -> int | None:
        """The batch size if two networks are in memory at once, in float32."""
        return self.effort.peer_batch if network == "resnet50" else None

    def repeated(self, work: Callable[[], object]) -> Callable[[], object]:
        """Record work as a CUDA graph, if there is a GPU, and return what repeats it."""
        recorder = captured.recorder_for(self.device)
        return work if recorder is None else recorder.record(lambda: void(work()), lambda: void(work()))


def void(_result: object) -> None:
    """Drop a result."""


def steps(bench: Bench, network: str, attack: str, interpreter: str, precision: str, compile: bool = False) -> Values:
    """(a): a step of an attack over the recorded bare passes of the same prepared network."""
    subject, view, benign = bench.start(network, interpreter, precision, compile)
    count = bench.effort.steps[network]
    built = subject.attack(attack, (0, count), interpreter)
    bare = bare_double if interpreter == "grad" else bare_gradient

    def step() -> float:
        marks = StepMarks(bench.clock)
        run_on(built, view, benign, marks.progress)
        return marks.seconds_per_step(FIRST, count)

    with attacking(precision, bench.device):
        again = bench.repeated(lambda: bare(subject, view))
        times = take_turns({"step": step, "bare": lambda: time_of(again, bench.clock, count)}, bench.effort.turns)
    note = subject.about if view.records_steps else f"{subject.about}; the step could NOT be recorded"
    return ratio(times, "step", "bare") | {"note": note}


def copies(bench: Bench, network: str) -> Values:
    """(b): forward pass and input gradient of the prepared copy over those of the original, in float32."""
    subject, view, _ = bench.start(network, "cam", "float32", batch=bench.batch_of_two(network))
    original = Normalised(subject.classifier, frozen=True).to(bench.device)

    def passes(run: Callable[[Tensor], Tensor]) -> None:
        images = subject.images.clone().requires_grad_()
        loss = torch.nn.functional.cross_entropy(run(images), subject.targets, reduction="sum")
        torch.autograd.grad(loss, images)

    with attacking("float32", bench.device):
        calls = {
            "copy": bench.repeated(lambda: passes(view.prepared.run)),
            "original": bench.repeated(lambda: passes(original)),
        }
        times = take_turns(
            {name: functools.partial(time_of, call, bench.clock, 10) for name, call in calls.items()},
            bench.effort.turns,
        )
    form = str(getattr(view.prepared, "memory_format", "")).removeprefix("torch.")
    return ratio(times, "copy", "original") | {"note": f"{subject.about}; the copy is {form}"}


def thousand(bench: Bench, compile: bool) -> Values:
    """(c): seconds for 1,000 images, from 100 steps of each kind on one batch."""
    subject, view, benign = bench.start("resnet50", "cam", "bf16", compile)
    few = bench.effort.steps["resnet50"] if bench.effort is TINY else 50
    marks = StepMarks(bench.clock)
    with attacking("bf16", bench.device):
        run_on(subject.attack("adv2", (few, few), "cam"), view, benign, marks.progress)
        warmup, joint = marks.seconds_per_step(FIRST, few), marks.seconds_per_step(few + FIRST, 2 * few)
    batches = math.ceil(1000 / len(subject.images))
    note = (
        f"scaled from {2 * few} steps on one batch of {len(subject.images)}: {batches} batches of 400 steps at "
        f"{warmup * 1000:.1f} ms and 1,200 at {joint * 1000:.1f} ms; without controls, preparation and judging"
    )
    return {"value": batches * (400 * warmup + 1200 * joint), "note": note}


def peers(bench: Bench, network: str, library: str, precision: str) -> Values:
    """(d): another library's PGD over ours: equal steps, eps and step size, in IEEE float32, or ours in bf16."""
    subject, view, benign = bench.start(network, "cam", precision, batch=bench.batch_of_two(network))
    count = min(40, bench.effort.steps[network])
    built = subject.attack("bim", (0, count))

    def ours() -> float:
        with attacking(precision, bench.device):
            return time_of(lambda: run_on(built, view, benign), bench.clock)

    def theirs() -> float:
        with attacking("float32", bench.device):
            return time_of(other, bench.clock)

    other = PEERS[library](subject, count, False)
    times = take_turns({"theirs": theirs, "ours": ours}, min(3, bench.effort.turns))
    said = {"float32": "both in float32", "bf16": "ours in bf16, theirs in float32"}[precision]
    note = f"{subject.about}, {count} steps, {said}; ours is recorded anew in each call, and prepared before"
    return ratio(times, "theirs", "ours") | {"note": note}


def memory(bench: Bench) -> Values:
    """(e): peak memory of a joint step on SmoothGrad over that on Grad."""
    classifier = uf.classifiers.load("imagenet-lite0").to(bench.device)
    side, batch = bench.effort.sides["lite0"], bench.effort.batches["lite0"]
    images = torch.rand(batch, 3, side, side, generator=torch.Generator().manual_seed(0)).to(bench.device)
    images = images.mul(255).round() / 255
    labels = classifier.logits(images).argmax(1)
    peaks = {}
    for name in ("smoothgrad", "grad"):
        system = uf.System(classifier, create(name))
        view, benign = system.view(size=(side, side)), read_benign(system, images, labels)
        attack = replace(preset("adv2", eps=EPS, steps=(0, 2)).build(system), early_stop=None)
        peaks[name] = _peak(lambda attack=attack, view=view, benign=benign: run_on(attack, view, benign), bench)
    note = f"imagenet-lite0, {batch} images of {side} x {side}; " + ", ".join(
        f"{name} {peak / 2**20:.0f} MiB" for name, peak in peaks.items()
    )
    return {"ratio": peaks["smoothgrad"] / peaks["grad"], "note": note}


def _peak(call: Callable[[], object], bench: Bench) -> int:
    """Return the largest memory during a call, in bytes; on a CPU that which autograd keeps."""
    if bench.device.type != "cuda":
        with counting() as kept:
            call()
        return kept.peak
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(bench.device)
    call()
    return torch.cuda.max_memory_allocated(bench.device)


def waits(bench: Bench, interpreter: str, recorded: bool) -> Values:
    """(f): the number of times that a stage's steps wait for the GPU."""
    subject, view, benign = bench.start("cifar", interpreter, "float32")
    view.records_steps = recorded
    count = bench.effort.steps["cifar"]

    def watch(step: int, _steps: int) -> None:
        if bench.device.type == "cuda":
            torch.cuda.set_sync_debug_mode("warn" if FIRST <= step < count else "default")

    with attacking("float32", bench.device), warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        run_on(subject.attack("adv2", (0, count), interpreter), view, benign, watch)
    found = sum("synchronizing" in str(each.message) for each in said)
    where = f"{count - FIRST} steps, {'recorded' if recorded and view.records_steps else 'eager'}"
    return {"value": found, "note": where if bench.device.type == "cuda" else f"{where}; a CPU is never waited for"}


Measure = Callable[[Bench], Values]


def rows() -> dict[Line, Measure]:
    """All rows, in the order of the table. Rows of one network stand together."""
    found: dict[Line, Measure] = {}

    def add(line: Line, measure: Callable[..., Values], *given: object) -> None:
        found[line] = lambda bench: measure(bench, *given)

    for network, title in (("cifar", "cifar10-resnet20"), ("resnet50", "ResNet-50")):
        for precision in ("bf16", "tf32") if network == "cifar" else ("bf16",):
            tail = f"a step / bare, {title}, {precision}"
            add(Line(f"a-pgd-{network}-{precision}", f"PGD: {tail}", 1.15), steps, network, "bim", "cam", precision)
            add(
                Line(f"a-cam-{network}-{precision}", f"ADV2 on CAM: {tail}", 1.15),
                *(steps, network, "adv2", "cam", precision),
            )
            if network == "cifar":
                add(
                    Line(f"a-grad-{network}-{precision}", f"ADV2 on Grad: {tail} double backward", 1.2),
                    *(steps, network, "adv2", "grad", precision),
                )
        add(Line(f"b-{network}", f"prepared copy / original, {title}, float32", 1.02), copies, network)
        if network == "resnet50":
            whole = "1,000 images of 224 x 224, ResNet-50, ADV2 on CAM, 400 + 1,200 steps, bf16"
            add(Line("c", whole, 240, unit="s"), thousand, False)
            add(Line("c-compiled", f"{whole}, compiled", unit="s"), thousand, True)
            compiled = (steps, network, "adv2", "cam", "bf16", True)
            add(Line("a-cam-resnet50-compiled", "ADV2 on CAM: a compiled step / bare, ResNet-50, bf16"), *compiled)
        for precision, bound in (("float32", 1.2), ("bf16", 2.5)):
            for library in PEERS:
                what = f"PGD: {library} / ours, {title}, {precision}"
                line = Line(f"d-{library.lower()}-{network}-{precision}", what, bound, at_least=True)
                add(line, peers, network, library, precision)
    add(Line("e", "peak memory of a joint step: SmoothGrad / Grad", 1.3), memory)
    for interpreter in ("cam", "grad"):
        for recorded in (True, False):
            kind = "recorded" if recorded else "eager"
            line = Line(f"f-{interpreter}-{kind}", f"ADV2 on {interpreter}: waits for the GPU, {kind} steps", 0)
            add(line, waits, interpreter, recorded)
    return found
