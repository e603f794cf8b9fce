"""Settings are declared once: command line, configuration files and Python have the same ones."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import underfire as uf
from tests.runs.runs import Command
from underfire.attacks import AttackSettings, Preset
from underfire.attacks.plain import SETTINGS
from underfire.errors import DeprecatedWarning
from underfire.runs import RunConfig
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


def test_former_settings_of_presets_warn() -> None:
    with pytest.warns(DeprecatedWarning, match="random_start"):
        made = uf.attacks.preset("adv2", random_start=True, eps=0.1)
    assert made == uf.attacks.preset("adv2", perturbation=uf.attacks.PGD(0.1, random_start=True))
    with pytest.warns(DeprecatedWarning, match="neighbours"):
        made = uf.attacks.preset("stadv", neighbours="diagonal")
    assert made.made_perturbation == uf.attacks.StAdv(neighbours="diagonal")
