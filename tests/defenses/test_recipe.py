"""Settings that trainings of defenses share: learning rates over time, and recipes by name."""

from __future__ import annotations

import math

import pytest

from tests.runs.runs import make_command
from underfire.defenses import aid, robust
from underfire.defenses.recipe import SCHEDULES
from underfire.defenses.robust import RobustRecipe
from underfire.errors import InputError


def test_rates_over_time() -> None:
    def rates(schedule: str) -> list[float]:
        recipe = RobustRecipe(steps=20, rate=2.0, schedule=schedule)
        return [recipe.rate_at(number) for number in range(20)]

    assert rates("constant") == [2.0] * 20
    assert rates("second-half") == pytest.approx([2.0] * 11 + [2.0 - 0.2 * n for n in range(1, 10)])
    assert rates("cosine") == pytest.approx([1 + math.cos(math.pi * n / 20) for n in range(20)])
    warm = rates("warm-up")
    assert warm[:2] == pytest.approx([1.0, 2.0])
    assert warm[2:] == pytest.approx([2 * ((19 - n) / 20 / 0.9 + 1e-3) for n in range(2, 20)])
    assert set(SCHEDULES) == {"constant", "second-half", "cosine", "warm-up"}


def test_recipes_by_name() -> None:
    assert {name: each.objective for name, each in robust.RECIPES.items()} == {
        **{name: name for name in robust.OBJECTIVES},
        "quick": "int-adv",
    }
    assert {name: each.attack for name, each in aid.RECIPES.items()} == {
        "adv2": "adv2",
        "auto": "auto",
        "quick": "adv2",
    }
    assert "AdamW, weight decay 0.0005" in RobustRecipe(optimiser="adamw").optimising
    assert "decay 0.99" in RobustRecipe(average=0.99).optimising


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schedule": "cosin"}, "cosine"),
        ({"optimiser": "adm"}, "adam"),
        ({"average": 1.0}, "average"),
        ({"rate": -1}, "rate"),
    ],
)
def test_bad_settings_are_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        RobustRecipe(**changes)


GIVEN = ("--classifier", "digits-resnet", "--data", "digits:train", "--out", "out")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            ("robust", "--optimiser", "adamw", "--momentum", "0.5"),
            "--momentum is 0.5, and the optimiser adamw has none",
        ),
        (("aid", "--momentum", "0.7"), "--momentum is 0.7, and the optimiser adam has none"),
        (
            ("robust", "--recipe", "adversarial", "--gamma", "3"),
            "--gamma is 3, and the objective adversarial has no penalty",
        ),
        (
            ("robust", "--recipe", "normal", "--ramp", "0.5", "--test", "digits:test"),
            "--ramp is 0.5, and the objective",
        ),
        (("robust", "--recipe", "normal", "--attack-steps", "7"), "--attack-steps is 7, and the objective normal"),
        (
            ("robust", "--recipe", "int-adv", "--segments", "9"),
            "--segments is 9, and the objective int-adv has no integrated gradients",
        ),
        (("robust", "--recipe", "ssr", "--attack-segments", "9"), "--attack-segments is 9, and the objective ssr"),
        (("robust", "--recipe", "ssr", "--eps", "0.1"), "--eps is 0.1, and the objective ssr attacks nothing"),
    ],
)
def test_options_without_effect_are_refused(
    options: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = make_command(monkeypatch, capsys)("train", *options, *GIVEN)
    assert ended.code == 2
    assert said in " ".join(ended.err.split())


def test_which_settings_change_nothing() -> None:
    attack = {"eps", "attack_steps", "step_size"}
    lines = {"segments", "attack_segments"}
    assert set(RobustRecipe("normal").without_effect(measured=False)) == {"gamma", "ramp", *attack, *lines}
    # The test images' attack has the same radius and steps.
    assert set(RobustRecipe("normal").without_effect(measured=True)) == {"gamma", "ramp", *lines}
    assert set(RobustRecipe("adversarial").without_effect(measured=False)) == {"gamma", *lines}
    assert set(RobustRecipe("int-adv").without_effect(measured=False)) == lines
    assert set(RobustRecipe("ssr").without_effect(measured=False)) == {"ramp", *attack, *lines}
    assert not RobustRecipe("ig-norm").without_effect(measured=False)
    assert not RobustRecipe("ig-sum-norm").without_effect(measured=False)
    assert set(aid.RECIPES["adv2"].without_effect(measured=True)) == {"momentum"}
