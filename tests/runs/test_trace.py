"""The course of a run: what the trace says against attacks that end at a checked step."""

from __future__ import annotations

from collections import defaultdict

import pytest

from tests.runs.runs import Row, Written


@pytest.fixture
def courses(full: Written) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in full.trace:
        found[row["attack"], row["image_id"]].append(row)
    return found


def test_every_attacked_image_has_a_course(full: Written, courses: dict[tuple[str, str], list[Row]]) -> None:
    attacked = {row["image_id"] for row in full.rows if row["correct_before"]}
    assert set(courses) == {(attack, image) for attack in ("pgd", "adv2") for image in attacked}
    for (attack, image), rows in courses.items():
        run = next(row["steps"] for row in full.of(attack) if row["image_id"] == image)
        assert [row["step"] for row in rows] == list(range(run))  # 40 steps: each one is checked
        stages = ["warm-up"] * 10 + ["joint"] * 30 if attack == "adv2" else ["prediction"] * 40
        assert [row["stage"] for row in rows] == stages[:run]


def test_the_first_step_sees_the_clean_image(full: Written, courses: dict[tuple[str, str], list[Row]]) -> None:
    """Neither attack has a random start, so both begin at the same place, which is no success."""
    for (attack, image), rows in courses.items():
        assert not rows[0]["success"]
        assert rows[0]["map_l1"] == pytest.approx(courses["pgd", image][0]["map_l1"], abs=1e-5), attack


def test_the_best_iterate_is_in_the_course(full: Written, courses: dict[tuple[str, str], list[Row]]) -> None:
    """The judged image's distance is the smallest of the joint stage's successes, up to the view's smoothing (the
    course's last reading, after the last step, is not part of it)."""
    cam = {row["image_id"]: row["map_l1_target"] for row in full.of("adv2", "cam")}
    grad = {row["image_id"]: row["map_l1_target"] for row in full.of("adv2", "grad")}
    close = 0
    for (attack, image), rows in courses.items():
        reached = [row["map_l1"] for row in rows if row["success"] and row["stage"] == "joint"]
        if attack == "adv2" and reached:
            close += abs(min(reached) - (cam[image] + grad[image]) / 2) < 0.02
    assert close >= 8


def test_the_attack_brings_the_map_back(courses: dict[tuple[str, str], list[Row]]) -> None:
    """Over the joint stage the distance falls; under the prediction alone it stays where it went."""

    def mean(attack: str, step: int) -> float:
        values = [rows[min(step, len(rows) - 1)]["map_l1"] for (name, _), rows in courses.items() if name == attack]
        return sum(values) / len(values)

    assert mean("adv2", 39) < mean("adv2", 10)
    assert mean("adv2", 39) < mean("pgd", 39)
