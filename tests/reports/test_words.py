"""Saying in words what a run found, and choosing the images that are shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from underfire.runs.reader import Run, spread

from tests.reports.fakes import Fake
from underfire.reports.words import paragraph, percent, trust, with_interval


def interval(mean: float, low: float, high: float, n: int = 24) -> dict[str, Any]:
    return {"mean": mean, "low": low, "high": high, "n": n}


@given(st.lists(st.floats(0, 1), max_size=40), st.integers(0, 12))
def test_a_spread_holds_both_ends_and_nothing_twice(values: list[float], count: int) -> None:
    chosen = spread(values, count)
    assert len(chosen) == len(set(chosen)) == min(count, len(values))
    assert [values[i] for i in chosen] == sorted(values[i] for i in chosen)
    if min(count, len(values)) >= 2:
        assert (values[chosen[0]], values[chosen[-1]]) == (min(values), max(values))


def test_a_spread_is_even_over_the_order() -> None:
    values = [0.9, 0.1, 0.5, 0.3, 0.7, 0.2, 0.4, 0.6, 0.8]
    assert [values[i] for i in spread(values, 3)] == [0.1, 0.5, 0.9]
    assert [values[i] for i in spread(values, 5)] == [0.1, 0.3, 0.5, 0.7, 0.9]
    assert values[spread(values, 1)[0]] == 0.5
    assert spread([0.5, float("nan"), 0.1], 2) == [2, 1]


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (1, "100 %"), (0.9167, "92 %"), (0.999, "99 %"), (0.001, "1 %"), (0.5, "50 %")]
)
def test_only_all_and_none_are_called_so(share: float, text: str) -> None:
    assert percent(share) == text


def test_intervals_in_words() -> None:
    assert with_interval(interval(0.9167, 0.7917, 1.0)) == "92 % [79, 100]"
    assert with_interval({"mean": None, "low": None, "high": None, "n": 0}) == "unknown"


def test_the_paragraph_says_joint_success_first(tmp_path: Path) -> None:
    run = Run.read(Fake().write(tmp_path))
    joint = run.summary["joint_success"]["cam"]
    assert joint["mean"] == 3 / 8  # images 0, 1, 2: reached, and closer than 0.1
    text = paragraph(run)
    taken = f"{with_interval(joint)} were taken for a class drawn at random and kept their cam map"
    assert text.startswith(f"Of 8 images that toy got right, {taken}")
    assert (
        "The attack on the prediction alone managed that for 0 % [0, 32], although it changed the class of 75 %" in text
    )
    assert "No pixel value was moved by more than 3 of 255 levels." in text


def change(folder: Path, **configuration: Any) -> Run:
    record = json.loads((folder / "run.json").read_text())
    record["configuration"] |= configuration
    (folder / "run.json").write_text(json.dumps(record))
    return Run.read(folder)


def test_the_paragraph_names_the_goal(tmp_path: Path) -> None:
    folder = Fake(interpreters=("cam", "grad")).write(tmp_path)
    assert "were taken for the class that was least likely before" in paragraph(change(folder, target="least-likely"))
    assert "were taken for the class be\\u202ee" in paragraph(change(folder, target="be\u202ee"))
    text = paragraph(change(folder, targeted=False))
    assert "were taken for a wrong class and kept all of their maps at once" in text


class Uneven(Fake):
    """Grad's maps are kept by one image where CAM's are kept by three."""

    def distance(self, i: int, attack: str, reader: int = 0) -> float:
        return super().distance(i, attack) + (0.07 if reader and attack == self.attack else 0)


def test_of_several_maps_all_must_be_kept(tmp_path: Path) -> None:
    run = Run.read(Uneven(interpreters=("cam", "grad")).write(tmp_path))
    text = paragraph(run)
    assert "got right, 12 % [2, 47] were taken for a class drawn at random and kept all of their maps at once" in text
    assert "Each map by itself: 38 % [14, 69] with cam and 12 % [2, 47] with grad." in text
    assert "managed that for 0 % [0, 32], although it changed the class of 75 % [41, 93]; each map by itself: " in text


def test_a_run_from_before_there_was_a_share_of_all_maps(tmp_path: Path) -> None:
    folder = Uneven(interpreters=("cam", "grad")).write(tmp_path)
    summary = json.loads((folder / "summary.json").read_text())
    expected = summary.pop("joint_success_all")
    (folder / "summary.json").write_text(json.dumps(summary))
    assert Run.read(folder).summary["joint_success_all"] == expected


def test_a_run_of_the_control_has_nothing_to_compare_with(tmp_path: Path) -> None:
    run = Run.read(Fake(attack="pgd").write(tmp_path))
    assert not run.control
    assert "alone managed" not in paragraph(run)
    assert any("nothing to compare with" in note.text for note in trust(run))


def careful(run: Run) -> str:
    return " ".join(note.text for note in trust(run) if note.kind == "careful")


def test_warnings_come_where_they_should(tmp_path: Path) -> None:
    folder = Fake().write(tmp_path)
    run = Run.read(folder)
    assert "Only 8 images were attacked" in careful(run)
    assert "ran 10 + 40 steps" in careful(run)
    assert "moved by more than 3 of 255 levels, and noise moves each by 8" in careful(run), "a limit for larger changes"
    assert "steps" not in careful(change(folder, steps=None, eps=4 / 255))
    run = change(folder, steps=[40, 160], eps=4 / 255)
    run.summary["images"] = {"attacked": 200, "considered": 400, "correctly_classified": 230, "unreadable": []}
    attacks = run.summary["interpreters"]["cam"]["attacks"]
    attacks["adv2"]["joint_success"], attacks["pgd"]["joint_success"] = interval(0.9, 0.8, 1), interval(0.1, 0.0, 0.2)
    paired = run.summary["interpreters"]["cam"]["against_prediction_only"]["paired_difference"]
    paired["joint_success"] = interval(0.8, 0.7, 0.9)
    assert careful(run) == ""
    assert "230 of them classified correctly, 30 of which belong to the target class already." in [
        note.text.removeprefix("400 images were looked at, ") for note in trust(run)
    ]
    attacks["pgd"]["joint_success"] = interval(0.3, 0.2, 0.85)
    assert careful(run) == "", "intervals may overlap where each image is compared with itself"
    paired["joint_success"] = interval(0.1, -0.1, 0.3)
    assert "With cam, what the attack is ahead of its control, image by image, may be nothing" in careful(run)
    attacks["pgd"]["joint_success"] = interval(0.36, 0.2, 0.5)
    assert "even the attack on the prediction alone stays below the limit for 36 %" in careful(run)
    attacks["reseeded"] = attacks["noise"] | {"map_l1": interval(0.09, 0.08, 0.1)}
    assert "the limit lies below it" not in careful(run)
    attacks["reseeded"]["map_l1"] = interval(0.11, 0.08, 0.2)
    assert "no distance below that means anything: the limit lies below it, so that no map can count" in careful(run)
    del attacks["reseeded"]
    attacks["noise"]["untargeted_success"] = interval(0.2, 0.1, 0.3)
    assert "Noise alone already changes the class of 20 % of the images" in careful(run)
    run.summary["images"] |= {"correctly_classified": 150, "unreadable": [{"path": "a\u202eb.png", "why": "broken"}]}
    assert "1 files could not be read and are left out: a\\u202eb.png" in careful(run)
    assert "150 of them classified correctly" in careful(run)


def test_another_map_than_the_benign_one(tmp_path: Path) -> None:
    """Nothing is 'kept' then, and no noise sets the limit."""
    from underfire.reports.curves import threshold_chart
    from underfire.reports.page import _columns
    from underfire.reports.words import trust

    run = change(Fake().write(tmp_path), target_map="patch")
    text = paragraph(run)
    assert "showed the wanted cam map, so that the explanation is the one that the attack chose" in text
    assert "kept" not in text
    assert "notice nothing" not in text
    for share, words in {0.9: "For most images, the explanation is as it was chosen", 0.01: "stayed far from"}.items():
        run.summary["interpreters"]["cam"]["attacks"]["adv2"]["joint_success"] = interval(share, share, share)
        assert words in paragraph(run)
    run.summary["interpreters"]["cam"]["attacks"]["pgd"]["joint_success"] = interval(0.4, 0.2, 0.6)
    assert "Even the attack on the prediction alone brings the cam map half of the way" in careful(run)
    assert "unsteady" not in careful(run)
    assert "noise moves each by" not in careful(run)
    notes = " ".join(note.text for note in trust(run))
    assert "less than half as far from the wanted one as the benign map is" in notes
    chart = threshold_chart(run, "cam")
    assert "half of the benign maps' mean distance" in chart.about
    assert [mark.text for mark in chart.marks] == ["halfway"]
    assert "map to target" in [column[0] for column in _columns(run)]
    benign = change(tmp_path, target_map="benign")
    assert "kept their cam map" in paragraph(benign)
    assert "map to target" not in [column[0] for column in _columns(benign)]


def test_none_of_a_few_is_not_a_part(tmp_path: Path) -> None:
    """Regression: an interval from 0 to 49 % was called "a part of the images"."""
    run = Run.read(Fake().write(tmp_path))
    attacks = run.summary["interpreters"]["cam"]["attacks"]
    said = {
        (0.0, 0.0, 0.49): "It worked on none of these images; they are too few to say that of others.",
        (0.0, 0.0, 0.02): "For nearly all images, either the class held",
        (0.25, 0.05, 0.7): "For a part of the images",
        (0.9, 0.7, 1.0): "For most images",
    }
    for values, words in said.items():
        attacks["adv2"]["joint_success"] = interval(*values)
        assert words in paragraph(run)


def test_what_noise_does_to_the_class_is_said_once(tmp_path: Path) -> None:
    run = Run.read(Fake(interpreters=("cam", "grad")).write(tmp_path))
    for found in run.summary["interpreters"].values():
        found["attacks"]["noise"]["untargeted_success"] = interval(0.2, 0.1, 0.3)
    assert careful(run).count("Noise alone already changes") == 1
