"""The course of a run: what the trace says against attacks that end at a checked step."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.runs.runs import Row, Written

Courses = dict[tuple[str, str, str], list[Row]]


@pytest.fixture
def courses(full: Written) -> Courses:
    """The rows of the trace by attack, interpreter and image."""
    found: Courses = defaultdict(list)
    for row in full.trace:
        found[row["attack"], row["interpreter"], row["image_id"]].append(row)
    return found


def test_every_attacked_image_has_a_course(full: Written, courses: Courses) -> None:
    attacked = {row["image_id"] for row in full.rows if row["correct_before"]}
    assert set(courses) == {(a, name, i) for a in ("bim", "adv2") for name in ("cam", "grad") for i in attacked}
    position = {row["image_id"]: row["position"] for row in full.rows}
    for (attack, _, image), rows in courses.items():
        assert {(row["position"], row["cell"]) for row in rows} == {(position[image], attack)}
        run = next(row["steps"] for row in full.of(attack) if row["image_id"] == image)
        assert [row["step"] for row in rows] == list(range(run))  # 40 steps: each one is checked
        stages = ["warm-up"] * 10 + ["joint"] * 30 if attack == "adv2" else ["prediction"] * 40
        assert [row["stage"] for row in rows] == stages[:run]


def test_the_first_step_sees_the_clean_image(courses: Courses) -> None:
    """Neither attack has a random start, so both begin at the same place, which is no success."""
    for (attack, name, image), rows in courses.items():
        assert not rows[0]["success"]
        assert rows[0]["map_l1"] == pytest.approx(courses["bim", name, image][0]["map_l1"], abs=1e-5), attack


def test_the_best_iterate_is_in_the_course(full: Written, courses: Courses) -> None:
    """The judged image's distance, the mean over both maps, is the smallest of the joint stage's successes, up to the
    view's smoothing (the course's last reading, after the last step, is not part of it). So is each map's own
    distance at that step."""
    judged = {n: {row["image_id"]: row["map_l1_target"] for row in full.of("adv2", n)} for n in ("cam", "grad")}
    close, each_close = 0, 0
    for image in judged["cam"]:
        pairs = zip(courses["adv2", "cam", image], courses["adv2", "grad", image], strict=True)
        reached = [(cam["map_l1"], grad["map_l1"]) for cam, grad in pairs if cam["success"] and cam["stage"] == "joint"]
        if reached:
            best = min(reached, key=sum)
            close += abs(sum(best) / 2 - (judged["cam"][image] + judged["grad"][image]) / 2) < 0.02
            each_close += all(abs(value - judged[name][image]) < 0.04 for name, value in zip(judged, best, strict=True))
    assert close >= 8
    assert each_close >= 8


def test_success_is_the_same_for_every_interpreter(courses: Courses) -> None:
    for (attack, _, image), rows in courses.items():
        assert [row["success"] for row in rows] == [row["success"] for row in courses[attack, "cam", image]]


def test_the_attack_brings_the_map_back(courses: Courses) -> None:
    """Over the joint stage the distance falls; under the prediction alone it stays where it went."""

    def mean(attack: str, step: int) -> float:
        values = [rows[min(step, len(rows) - 1)]["map_l1"] for (name, _, _), rows in courses.items() if name == attack]
        return sum(values) / len(values)

    assert mean("adv2", 39) < mean("adv2", 10)
    assert mean("adv2", 39) < mean("bim", 39)
