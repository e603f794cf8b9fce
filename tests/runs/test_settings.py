"""Settings are declared once: command line, configuration files and Python have the same ones."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import underfire as uf
from tests.runs.runs import Command
from underfire import campaigns
from underfire.attacks import AttackSettings, GivenClass, Preset, RandomClass
from underfire.attacks.perturbations import parse_eps
from underfire.attacks.plain import SETTINGS
from underfire.errors import DeprecatedWarning, InputError
from underfire.runs import Reporter, RunConfig, run_attack
from underfire.runs.inputs import InputSettings
from underfire.settings import settings_of

HERE = {"data": "digits:test", "classifier": "digits-resnet"}
ALL = settings_of(RunConfig)


def test_commands_take_the_same_settings_of_their_inputs(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    for words in (("attack",), ("check",), ("explain",), ("train", "rts")):
        shown = command(*words, "--help").out
        for name, (_, described) in settings_of(InputSettings).items():
            assert f" {described.names(name)[0]} " in shown, (words, name)


def test_python_takes_every_setting_of_an_attack() -> None:
    assert set(settings_of(AttackSettings)) - {"attack"} <= set(SETTINGS)
    parameters = inspect.signature(Preset).parameters
    for name, (field, _) in settings_of(AttackSettings).items():
        assert parameters[name].default == field.default
        assert ALL[name][0].default == field.default, "the run's default is the attack's"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('data = "x"\n\nepz = 0.1\n', ["line 3", "unknown setting 'epz'", "'eps'"]),
        ("data = \n", ["is no TOML"]),
        ('data = "x"\nclassifier = "y"\ncount = "many"\n', ["count is 'many'; expected a whole number"]),
        ('data = "x"\nclassifier = "y"\nsteps = [1]\ncount = 0\n', ["steps", "count is 0; expected at least 1 image"]),
    ],
)
def test_faults_of_a_configuration_file_are_named(command: Command, tmp_path: Path, text: str, said: list[str]) -> None:
    file = tmp_path / "run.toml"
    file.write_text(text)
    ended = command("attack", "--config", str(file), "--out", str(tmp_path / "out"))
    assert ended.code == 2
    for part in said:
        assert part in ended.said
    assert "cannot be read" in command("attack", "--config", str(tmp_path / "none.toml")).said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"count": -3}, "count is -3; expected at least 1 image"),
        ({"precision": "int4"}, "precision is 'int4'; expected 'float32', 'tf32' or 'bf16'"),
        ({"seed": "x"}, "seed is 'x'; expected a whole number"),
        ({"search": -1}, "search is -1; expected at least 0"),
        ({"resize": 0, "interpreters": ()}, "resize is 0; expected"),
        ({"data": None}, "data is missing"),
        ({"eps": "large"}, "eps is 'large'"),
        ({"measures": 5}, "unknown measure '5'"),
        ({"each": "maybe"}, "each is 'maybe'"),
    ],
)
def test_a_configuration_is_checked_however_it_is_made(values: dict[str, Any], said: str) -> None:
    """Regression: ``RunConfig(count=-3)`` attacked the whole data set."""
    for make in (RunConfig, RunConfig.create):
        with pytest.raises(InputError, match=re.escape(said)):
            make(**(HERE | values))
    if values.get("data", "") is not None:
        with pytest.raises(InputError, match=re.escape(said)):
            replace(RunConfig(**HERE), **values)


def test_a_configuration_takes_texts_however_it_is_made() -> None:
    values = {
        "eps": "8/255",
        "steps": "1,2",
        "interpreters": "cam,grad",
        "image_size": "24",
        "count": "3",
        "seed": None,
    }
    made = RunConfig(**(HERE | values))
    assert made == RunConfig.create(**(HERE | values)) == RunConfig(**made.to_dict())
    assert (made.eps, made.steps, made.interpreters) == ((8 / 255,), (1, 2), ("cam", "grad"))
    assert (made.image_size, made.count, made.seed) == ((24, 24), 3, 0)


def test_a_path_stands_for_its_text() -> None:
    """Regression: they were refused, "data is PosixPath('a.csv'); expected a text", and a folder had to be a Path."""
    given = {
        "data": Path("a.csv"),
        "weights": Path("b"),
        "also_right": [Path("c.py:net")],
        "class_map": Path("d.csv"),
    }
    for made in (RunConfig(**HERE | given), RunConfig.create(**HERE | given)):
        assert (made.data, made.weights, made.also_right, made.class_map) == ("a.csv", "b", ("c.py:net",), "d.csv")


def test_the_former_place_of_runs_works_and_warns() -> None:
    for name, now in (
        ("RunConfig", RunConfig),
        ("run_attack", run_attack),
        ("Reporter", Reporter),
        ("parse_eps", parse_eps),
    ):
        with pytest.warns(DeprecatedWarning, match=rf"underfire\.campaigns\.{name} is deprecated .* use underfire\."):
            assert getattr(campaigns, name) is now
    with pytest.warns(DeprecatedWarning):
        assert campaigns.parse_steps("1,2") == (1, 2)
    with pytest.raises(AttributeError, match="nosuch"):
        campaigns.nosuch  # noqa: B018


def test_former_settings_of_presets_warn() -> None:
    with pytest.warns(DeprecatedWarning, match="random_start"):
        made = uf.attacks.preset("adv2", random_start=True, eps=0.1)
    assert made == uf.attacks.preset("adv2", perturbation=uf.attacks.PGD(0.1, random_start=True))
    with pytest.warns(DeprecatedWarning, match="neighbours"):
        made = uf.attacks.preset("stadv", neighbours="diagonal")
    assert made.made_perturbation == uf.attacks.StAdv(neighbours="diagonal")


def test_a_class_may_be_called_as_a_rule() -> None:
    where: dict[str, Any] = {"data": "digits:test", "classifier": "digits-resnet"}
    names = ["random", "cat"]
    assert RunConfig.create(**where).presets(names, 2)[0].class_rule == RandomClass()
    assert RunConfig.create(**where, target_class="cat").presets(names, 2)[0].class_rule == GivenClass(1)
