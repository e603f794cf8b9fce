"""``python -m benchmarks.gpu`` without a GPU: its clock, its table, going on after a stop, and every row on a CPU."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import underfire as uf
from benchmarks import Subject, gpu, gpu_rows
from benchmarks.gpu_clock import StepMarks, ratio, take_turns, time_of
from benchmarks.gpu_rows import TINY, Bench, rows
from benchmarks.gpu_table import Line, Results, table
from tests.conftest import smooth_images, tiny_network
from underfire.classifiers import compiled


class FakeClock:
    """A clock that advances by the amount that ``work`` is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def mark(self) -> float:
        return self.now

    def seconds(self, begin: float, end: float) -> float:
        return end - begin

    def work(self, seconds: float) -> None:
        self.now += seconds


def test_contestants_take_turns_and_medians_count() -> None:
    clock, order = FakeClock(), []
    slow = iter([100.0, 2.0, 2.0, 8.0])

    def first() -> float:
        order.append("first")
        return time_of(lambda: clock.work(next(slow)), clock)

    def second() -> float:
        order.append("second")
        return time_of(lambda: clock.work(1.0), clock, calls=5)

    times = take_turns({"first": first, "second": second}, turns=3)
    assert order == ["first", "second"] * 4
    assert times == {"first": [2.0, 2.0, 8.0], "second": [1.0] * 3}
    assert ratio(times, "first", "second") == {
        "ratio": 2.0,
        "low": 2.0,
        "high": 8.0,
        "first_seconds": 2.0,
        "second_seconds": 1.0,
    }


def test_steps_are_timed_without_the_first_ones() -> None:
    clock = FakeClock()
    marks = StepMarks(clock)
    for step in range(1, 11):
        clock.work(50.0 if step <= 4 else 0.5)
        marks.progress(step, 10)
    assert marks.seconds_per_step(4, 10) == pytest.approx(0.5)


def test_the_table_says_what_was_measured_met_and_failed() -> None:
    lines = [Line("a", "steps", 1.15), Line("d", "peers", 1.2, at_least=True), Line("c", "all", 240, unit="s")]
    lines += [Line("e", "memory", 1.3), Line("f", "waits", 0)]
    measured: dict[str, Any] = {
        "a": {"ratio": 1.2, "low": 1.1, "high": 1.3, "first_seconds": 0.0012, "second_seconds": 0.001, "note": "n"},
        "d": {"ratio": 1.5},
        "c": {"value": 200.0},
        "e": {"error": "too large"},
    }
    text = table(lines, measured).splitlines()[2:]
    assert text == [
        "| a | steps | 1.200 [1.100, 1.300] | <= 1.15: NO | 1.20 / 1.00 | n |",
        "| d | peers | 1.500 | >= 1.2: yes |  |  |",
        "| c | all | 200 s | <= 240 s: yes |  |  |",
        "| e | memory | failed | <= 1.3 |  | too large |",
        "| f | waits | not measured | <= 0 |  |  |",
    ]


def test_a_second_call_measures_what_is_missing(tmp_path: Path) -> None:
    file, calls = tmp_path / "out" / "rows.json", list[str]()

    def row(name: str, fails: bool = False) -> Any:
        def measure(_bench: Bench) -> dict[str, Any]:
            calls.append(name)
            if fails:
                raise RuntimeError("boom\nand more")
            return {"value": 1.0}

        return measure

    bench, about = Bench(torch.device("cpu"), TINY), {"device": "cpu"}
    asked = {Line("one", "1"): row("one"), Line("two", "2"): row("two", fails=True)}
    assert not gpu.run(bench, asked, Results(file, about), minutes=1)
    assert json.loads(file.read_text())["rows"]["two"] == {"error": "RuntimeError: boom"}
    again = {Line("one", "1"): row("one"), Line("two", "2"): row("two")}
    assert gpu.run(bench, again, Results(file, about), minutes=1)
    assert calls == ["one", "two", "two"]
    assert gpu.run(bench, {Line("three", "3"): row("three")}, Results(file, about), minutes=-1)
    assert calls == ["one", "two", "two"]  # out of time: the row waits for the next call
    assert Results(file, {"device": "another"}).rows == {}
    assert not file.exists()
    assert file.with_suffix(".former.json").exists()


def test_without_a_gpu_the_table_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 0
    said = capsys.readouterr().out
    assert "There is no CUDA device" in said
    assert said.count("not measured") == len(rows()) > 25
    with pytest.raises(SystemExit, match="expected beginnings of: a-pgd-cifar-bf16"):
        gpu.main(["--rows", "z"])


def test_rows_are_chosen_by_the_beginnings_of_their_names() -> None:
    assert {line.key for line in gpu.chosen("b,f-cam")} == {"b-cifar", "b-resnet50", "f-cam-recorded", "f-cam-eager"}
    assert len({line.key for line in rows()}) == len(rows())


@pytest.mark.filterwarnings("ignore::underfire.errors.UnderfireWarning")
def test_every_row_runs_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a tiny network in place of the others. ``--device cpu --tiny`` on the command line takes the real ones."""
    classifier = uf.Classifier(tiny_network(), mean=(0.5, 0.4, 0.6), std=(0.2, 0.3, 0.25), image_size=16)
    classifier.class_names = None

    def load_subject(name: str, batch: int | None, **options: Any) -> Subject:
        assert name in TINY.batches
        assert set(options) == {"device", "side"}
        images = smooth_images(batch or 8)
        labels = classifier.logits(images).argmax(1)
        return Subject(name, "tiny", classifier, images, labels, (labels + 1) % 4)

    monkeypatch.setattr(gpu_rows, "load_subject", load_subject)
    monkeypatch.setattr(uf.classifiers, "load", lambda name: classifier)
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    assert gpu.main(["--device", "cpu", "--tiny", "--out", str(tmp_path), "--minutes", "30"]) == 0
    held = json.loads((tmp_path / "rows.json").read_text())
    assert held["about"]["effort"] == "tiny"
    assert held["rows"].keys() == {line.key for line in rows()}
    for key, values in held["rows"].items():
        known = "not installed" in values.get("error", "") and key.startswith("d-")
        assert known or values.get("ratio", values.get("value")) is not None, key
    assert (tmp_path / "table.md").read_text().strip() == capsys.readouterr().out.strip()
