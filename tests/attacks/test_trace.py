"""The trace of an attack: recorded on the attack's device, and copied to the CPU once per stage."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.attacks.test_no_sync import NoWaiting
from tests.conftest import smooth_images
from underfire.attacks.trace import Trace


def test_rows_to_ignore_are_ignored_and_missing_values_are_nan() -> None:
    trace = Trace(3, 5)
    trace.add(0, "warm-up", torch.tensor([2, 0, -1, -1]), {"a": torch.tensor([1.0, 2.0, 9.0, 9.0])})
    trace.add(5, "joint", torch.tensor([1, -1, 2, 0]), {"b": torch.tensor([1.0, 9.0, 3.0, 4.0])})
    columns = trace.columns
    assert columns["a"].nan_to_num(-1).tolist() == [[2, -1, 1], [-1, -1, -1]]
    assert columns["b"].nan_to_num(-1).tolist() == [[-1, -1, -1], [4, 1, 3]]
    assert all(values.dtype is torch.float32 for values in columns.values())


def test_a_trace_that_is_fetched_in_between_is_the_same() -> None:
    def filled(fetches: bool) -> dict[str, Tensor]:
        trace = Trace(4, 1)
        for step in range(6):
            names = ("loss", "map") if step > 2 else ("loss",)
            trace.add(step, "stage", torch.arange(4), {name: torch.arange(4.0) + step for name in names})
            if fetches:
                trace.fetch()
        return trace.columns

    one, other = filled(True), filled(False)
    assert one.keys() == other.keys() == {"loss", "map"}
    assert all(torch.equal(one[name].nan_to_num(-1), other[name].nan_to_num(-1)) for name in one)


def test_recording_waits_for_no_device() -> None:
    trace, row = Trace(2, 1), torch.tensor([1, -1])
    values = torch.tensor([0.5, 0.25])
    with NoWaiting():
        trace.add(0, "stage", row, {"loss": values})
    assert trace.columns["loss"].nan_to_num(-1).tolist() == [[-1, 0.5]]


def test_the_loop_fetches_once_per_stage(classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[int] = []
    fetch = Trace.fetch

    def watched(self: Trace) -> None:
        if self._waiting:
            fetched.append(len(self._waiting))
        fetch(self)

    monkeypatch.setattr(Trace, "fetch", watched)
    images = smooth_images(8)
    attack = uf.attacks.preset("adv2", eps=8 / 255, steps=(4, 6))
    labels = classifier.logits(images).argmax(1)
    result = attack(uf.System(classifier, "cam"), images, labels, trace_every=2, control=False)
    assert fetched == [2, 3]
    assert result.trace is not None
    assert result.trace.columns["map_l1/cam"].shape == (5, 8)
