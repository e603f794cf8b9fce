"""Times of steps: what is timed, on how many images, and how long interpreters with many samples are said to take."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.conftest import smooth_images
from underfire.attacks.benign import Benign
from underfire.check import speed
from underfire.check.speed import Speed, measure_speed
from underfire.interpreters import IntegratedGradients, Interpreter, SmoothGrad, SparsifiedSmoothGrad

CPU = torch.device("cpu")


class Clock:
    """A clock that goes on by 0.1 seconds for each image."""

    def __init__(self) -> None:
        self.now, self.seen = 0.0, list[int]()

    def perf_counter(self) -> float:
        return self.now

    def act(self, images: Tensor, *others: Tensor) -> None:
        self.seen.append(len(images))
        self.now += 0.1 * len(images)


def test_slow_work_is_timed_on_no_more_images_than_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(speed, "time", clock)
    batch = tuple(torch.zeros(64, 1) for _ in range(3))
    assert speed._per_image(clock.act, batch) == pytest.approx(100)
    assert clock.seen == [2, 2]  # eight would take more than half a second


@pytest.mark.parametrize("kind", [SmoothGrad, IntegratedGradients, SparsifiedSmoothGrad])
def test_samples_are_counted_and_not_timed(kind: type[Interpreter], monkeypatch: pytest.MonkeyPatch) -> None:
    """A step of 2 ms and a joint step of 5 ms with one sample: each further sample takes 3 ms more."""
    classifier, images = uf.classifiers.load("digits-resnet"), smooth_images(2, channels=1)
    benign = Benign(images, torch.zeros(2).long(), torch.arange(2), torch.zeros(2, 10), {})
    monkeypatch.setattr(speed, "_per_image", lambda *_: 5.0)
    known = Speed(8, 1.0, 2.0, 0.0, 0.0)
    times = []
    for samples in (1, 16):
        interpreter = kind(samples=samples)  # type: ignore[call-arg]  # all three kinds have samples
        system = uf.System(classifier, {interpreter.name: interpreter})
        assert interpreter.sketches == samples
        times.append(measure_speed(system, system.view(), benign, 8, known).joint)
    assert times[1] - times[0] == pytest.approx(15 * 3)


def test_other_programs_do_not_lengthen_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: the middle one of three calls counted, and on a busy machine it was fifty times as long as another
    day."""
    clock, took = Clock(), iter([0.2, 0.05, 0.01, 0.05, 0.05])
    monkeypatch.setattr(speed, "time", clock)

    def act() -> None:
        clock.now += next(took)

    assert speed._seconds(act, CPU) == pytest.approx(0.01)
