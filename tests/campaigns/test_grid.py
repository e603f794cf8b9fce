"""The grid of a campaign: which runs it has, and what they are called."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from underfire.campaigns.grid import Grid
from underfire.errors import InputError

BASE: dict[str, Any] = {"data": "scenes:test", "classifier": "scenes-resnet", "count": 4, "steps": [2, 3]}
ATTACKS, MAPS, RADII = ("pgd", "adv2", "advedge"), ("cam", "grad", "gradcam"), ("2/255", "4/255", "8/255")


def grid(**values: Any) -> Grid:
    return Grid.model_validate({"settings": BASE, **values})


def test_every_combination_is_a_run() -> None:
    points = grid(grid={"interpreters": ["cam", "grad"], "eps": ["4/255", "8/255"]}).points()
    found = [(point.config.interpreters, point.config.eps) for point in points]
    assert found == [((m,), (e / 255,)) for m in ("cam", "grad") for e in (4, 8)]
    assert [point.name for point in points] == ["cam-eps4", "cam-eps8", "grad-eps4", "grad-eps8"]
    assert all(point.config.count == 4 and point.config.steps == (2, 3) for point in points)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(ATTACKS), min_size=1, unique=True),
    st.lists(st.sampled_from(MAPS), min_size=1, unique=True),
    st.lists(st.sampled_from(RADII), min_size=1, unique=True),
    st.sampled_from(ATTACKS),
    st.sampled_from(MAPS),
)
def test_the_grid_is_the_product_less_what_is_excluded(
    attacks: list[str], maps: list[str], radii: list[str], attack: str, interpreter: str
) -> None:
    """By a slow replica: three loops, and a condition."""
    expected = [
        (a, (m,), eval_radius(e))
        for a, m, e in itertools.product(attacks, maps, radii)
        if not (a == attack and m == interpreter)
    ]
    used = attack in attacks and interpreter in maps
    exclude = [{"attack": attack, "interpreters": interpreter}] if used else []
    made = grid(grid={"attack": attacks, "interpreters": maps, "eps": radii}, exclude=exclude)
    if not expected:
        with pytest.raises(InputError, match=r"no runs|is an empty list"):
            made.points()
        return
    points = made.points()
    if not used:
        expected = [(a, (m,), eval_radius(e)) for a, m, e in itertools.product(attacks, maps, radii)]
    assert [(p.config.attack, p.config.interpreters, p.config.eps) for p in points] == expected
    assert len({point.name.lower() for point in points}) == len(points)


def eval_radius(text: str) -> tuple[float]:
    return (int(text.partition("/")[0]) / 255,)


def test_a_list_in_a_list_is_one_value() -> None:
    points = grid(grid={"interpreters": ["cam", ["cam", "grad"], "cam,gradcam"]}).points()
    assert [point.config.interpreters for point in points] == [("cam",), ("cam", "grad"), ("cam", "gradcam")]


def test_included_runs_stand_on_the_settings() -> None:
    points = grid(grid={"eps": ["4/255"]}, include=[{"perturbation": "cw", "interpreters": "grad"}]).points()
    assert [(p.config.perturbation, p.config.interpreters, p.config.eps) for p in points] == [
        (None, ("cam",), (4 / 255,)),
        ("cw", ("grad",), None),
    ]


def test_a_change_sets_and_takes_away() -> None:
    change = [{"where": {"attack": ["auto", "pgd"]}, "set": {"steps": "", "budget": 7}}]
    with pytest.raises(InputError, match=r"budget is 7.*\(run attack = pgd\)"):
        grid(grid={"attack": ["adv2", "auto", "pgd"]}, change=change).points()
    change[0]["where"] = {"attack": "auto"}
    points = {p.config.attack: p.config for p in grid(grid={"attack": ["adv2", "auto"]}, change=change).points()}
    assert (points["adv2"].steps, points["auto"].budget) == ((2, 3), 7)


def test_agreed_asks_every_other_classifier() -> None:
    points = grid(grid={"classifier": ["scenes-resnet", "scenes-densenet"]}, agreed=True).points()
    assert [p.config.also_right for p in points] == [("scenes-densenet",), ("scenes-resnet",)]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({}, "no runs"),
        ({"grid": {"eps": []}}, r"grid\.eps is an empty list"),
        ({"grid": {"eps": ["4/255"]}, "exclude": [{"eps": "4/255"}]}, "no runs"),
        ({"grid": {"eps": ["4/255"]}, "exclude": [{"eps": "5/255"}]}, r"\[\[exclude\]\] with eps = 5/255 fits no run"),
        ({"grid": {"eps": ["4/255"]}, "change": [{"where": {"attack": "auto"}, "set": {"seed": 1}}]}, "fits no run"),
        ({"grid": {"eps": ["4/255", "0/255", "x"]}}, r"eps is 0.*\(run eps = 0/255\)\. eps is 'x'.*\(run eps = x\)\."),
        ({"grid": {"eps": ["4/255", "4/255"]}}, "two runs of the campaign are the same: eps = 4/255"),
        ({"grid": {"interpreters": ["cam", "kam"]}}, "cam.*run interpreters = kam"),
        ({"include": [{"seed": 1}], "settings": {"data": "scenes:test"}}, "^classifier is missing"),
    ],
)
def test_impossible_grids_are_refused_in_words(values: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        grid(**values).points()


def test_names_stay_apart_and_are_plain() -> None:
    data = ["a/b/test.parquet", "c/b/test.parquet", "x/<b>ü y.csv"]
    names = [point.name for point in grid(grid={"data": data}).points()]
    assert names == ["test", "test_2", "b_y"]


@pytest.mark.parametrize(
    ("axis", "wanted", "left"),
    [
        (["cam", ["cam", "grad"], "grad"], ["cam", "grad"], ["cam", "grad"]),  # a value of the grid: that run alone
        (["cam", ["cam", "grad"], "grad"], [["cam", "grad"], "grad"], ["cam"]),  # any of these two values
        (["cam", "grad", "gradcam"], ["cam", "grad"], ["gradcam"]),  # no value of the grid: any of its values
    ],
)
def test_a_list_that_is_one_value_excludes_that_value(axis: list[Any], wanted: list[Any], left: list[Any]) -> None:
    """Regression: two interpreters at once, excluded, took the runs on each of them away as well."""
    found = grid(grid={"interpreters": axis}, exclude=[{"interpreters": wanted}]).points()
    assert [list(point.config.interpreters) for point in found] == [
        each if isinstance(each, list) else [each] for each in left
    ]


def test_a_list_that_an_earlier_change_sets_is_one_value() -> None:
    """The first change makes one run attack both at once, and the second finds both runs."""
    both = ["cam", "grad"]
    change = [
        {"where": {"interpreters": "cam"}, "set": {"interpreters": both}},
        {"where": {"interpreters": both}, "set": {"count": 3}},
    ]
    found = grid(grid={"interpreters": both}, change=change).points()
    assert [(list(point.config.interpreters), point.config.count) for point in found] == [(both, 3), (["grad"], 3)]
