"""Settings are declared once: command line, configuration files and Python have the same ones."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import underfire as uf
from tests.runs.runs import Command
from underfire.attacks import AttackSettings, Preset
from underfire.attacks.plain import SETTINGS
from underfire.cli.configuration import read_configuration, written
from underfire.cli.options import names_of
from underfire.errors import DeprecatedWarning, InputError
from underfire.runs import RunConfig
from underfire.runs.inputs import InputSettings
from underfire.settings import settings_of

HERE = {"data": "digits:test", "classifier": "digits-resnet"}
ALL = settings_of(RunConfig)


@pytest.mark.parametrize("name", ALL)
def test_every_setting_is_an_option_with_its_default(
    command: Command, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    shown = " ".join(re.sub("[│╭╰]", " ", command("attack", "--help").out).split())
    field, described = ALL[name]
    for flag in names_of(name, described):
        assert f" {flag} " in shown
    assert described.help in shown
    if described.default:
        assert f"{described.help} [default: {described.default}]" in shown
    if field.default is MISSING:
        assert f"{described.help} [required]" in shown


def test_commands_take_the_same_settings_of_their_inputs(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    for words in (("attack",), ("check",), ("explain",), ("train", "rts")):
        shown = command(*words, "--help").out
        for name, (_, described) in settings_of(InputSettings).items():
            assert f" {names_of(name, described)[0]} " in shown, (words, name)


def test_python_takes_every_setting_of_an_attack() -> None:
    assert set(settings_of(AttackSettings)) - {"attack"} <= set(SETTINGS)
    parameters = inspect.signature(Preset).parameters
    for name, (field, _) in settings_of(AttackSettings).items():
        assert parameters[name].default == field.default
        assert ALL[name][0].default == field.default, "the run's default is the attack's"


def test_dumped_configurations_hold_every_setting_and_read_back(command: Command, tmp_path: Path) -> None:
    words = ["--data", "digits:test", "--classifier", "digits-resnet", "--eps", "8/255", "--steps", "2,4"]
    words += ["--interpreter", "cam,grad", "--term", "penalty=0.5", "--no-early-stop", "--out", str(tmp_path / "out")]
    ended = command("attack", *words, "--dump-config")
    assert ended.code == 0
    assert not (tmp_path / "out").exists(), "nothing else is done"
    for name in ALL:
        assert re.search(rf"^(# )?{name} = ", ended.out, re.MULTILINE), name
    file = tmp_path / "run.toml"
    file.write_text(ended.out)
    values = read_configuration(file, RunConfig)
    assert values.pop("out") == str(tmp_path / "out")
    expected = RunConfig.create(
        **HERE, eps=8 / 255, steps=(2, 4), interpreters=("cam", "grad"), terms=("penalty=0.5",), early_stop=False
    )
    assert RunConfig.create(**values) == expected
    again = command("attack", "--config", str(file), "--dump-config")
    assert again.out == ended.out


def test_options_override_the_configuration_file(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('data = "digits:test"\nclassifier = "digits-resnet"\neps = "8/255"\nseed = 3\ntargeted = false\n')
    dumped = command("attack", "--config", str(file), "--seed", "4", "--dump-config").out
    assert "seed = 4\n" in dumped
    assert "targeted = false\n" in dumped
    assert f"eps = {8 / 255}" in dumped


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


def test_former_names_work_and_warn(command: Command) -> None:
    words = ["attack", *(part for name, value in HERE.items() for part in (f"--{name}", value)), "--dump-config"]
    ended = command(*words, "--preset", "published", "--target", "3")
    assert 'variant = "published"\n' in ended.out
    assert 'target_class = "3"\n' in ended.out
    assert "--preset is deprecated" in ended.said
    assert "use --target-class" in ended.said
    assert command(*words, "--variant", "published", "--target-class", "3").out == ended.out


def test_configurations_of_earlier_versions_are_read() -> None:
    former = RunConfig.from_values({**HERE, "preset": "published", "target": "random", "eps": None, "early_stop": None})
    assert former == RunConfig.create(**HERE, variant="published")


def test_former_settings_of_presets_warn() -> None:
    with pytest.warns(DeprecatedWarning, match="random_start"):
        made = uf.attacks.preset("adv2", random_start=True, eps=0.1)
    assert made == uf.attacks.preset("adv2", perturbation=uf.attacks.PGD(0.1, random_start=True))
    with pytest.warns(DeprecatedWarning, match="neighbours"):
        made = uf.attacks.preset("stadv", neighbours="diagonal")
    assert made.made_perturbation == uf.attacks.StAdv(neighbours="diagonal")


def test_each_attacks_one_at_a_time_and_needs_no_readers() -> None:
    with pytest.raises(InputError, match="readers read the images of one attack"):
        RunConfig.create(**HERE, interpreters=("cam", "grad"), readers=("lrp",), each=True)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@given(
    values=st.fixed_dictionaries(
        {},
        optional={
            "data": TEXTS,
            "classifier": TEXTS,
            "weights": TEXTS,
            "mean": st.lists(st.floats(0, 1), min_size=1, max_size=3).map(tuple),
            "seed": st.integers(-(2**63), 2**63 - 1),
            "count": st.integers(1, 10**9),
            "targeted": st.booleans(),
            "measures": st.lists(TEXTS, max_size=3).map(tuple),
        },
    )
)
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_configuration_survives_its_file(tmp_path: Path, values: dict[str, Any]) -> None:
    config = RunConfig.create(**({"data": "x", "classifier": "y"} | values))
    file = tmp_path / "run.toml"
    file.write_text(written(config, {}), encoding="utf-8")
    assert RunConfig.create(**read_configuration(file, RunConfig)) == config
