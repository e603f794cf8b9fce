"""Settings reach the attack unchanged, from the command line and from Python."""

from __future__ import annotations

import inspect
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from typer.models import ArgumentInfo, OptionInfo

import underfire as uf
from tests.runs.runs import Command, options
from tests.runs.test_help import COMMANDS
from underfire import attacks
from underfire.attacks import AttackSettings, Preset, preset
from underfire.attacks.plain import SETTINGS
from underfire.campaigns import runner
from underfire.cli import commands
from underfire.cli.attack import MODELS
from underfire.errors import DeprecatedWarning, InputError
from underfire.runs import RunConfig
from underfire.runs.execution import ExecutionSettings, ScoringSettings
from underfire.runs.inputs import InputSettings
from underfire.settings import former_names, settings_of, to_values

WHERE = {"data": "digits:test", "classifier": "digits-resnet"}
EVERY = {name: pair for model in MODELS for name, pair in settings_of(model).items()}
"""Every setting of ``underfire attack``: its field and its description."""

TERM = """
from underfire.attacks import Measure, RandomClass, Term

class Far(Term):
    name = "far"
    def __call__(self, point):
        return -point.penalty

measure = Measure("half", per="image", kind="float", heading="half", meaning="one half", digits=1, better="neither",
                  compute=lambda seen: 0.5 * seen.labels)
rule = RandomClass((1, 2))
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A user's file with a term, a measure and a rule for target classes."""
    (tmp_path / "own.py").write_text(TERM)
    return tmp_path / "own.py"


WORDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"data": "digits:train", "count": 7, "seed": 3}, {"data": "digits:train", "count": 7, "seed": 3}),
    (
        {"interpreter": ["cam", "grad"], "read_with": ["lrp", "gradcam"]},
        {"interpreters": ("cam", "grad"), "readers": ("lrp", "gradcam")},
    ),
    ({"interpreter": "cam, grad", "each": True}, {"interpreters": ("cam", "grad"), "each": True}),
    ({"untargeted": True, "precision": "bf16"}, {"targeted": False, "precision": "bf16"}),
    (
        {"attack": "advedge+", "edge_threshold": 0.3, "edge_scope": "warmup", "target_map": "patch"},
        {"attack": "advedge+", "edge_threshold": 0.3, "edge_scope": "warmup", "target_map": "patch"},
    ),
    (
        {"perturbation": "cw", "eps": None, "noise_eps": "8/255", "search": 3, "steps": "5,6", "variant": "published"},
        {"perturbation": "cw", "noise_eps": 8 / 255, "search": 3, "steps": (5, 6), "variant": "published"},
    ),
    (
        {"baseline": "none", "eps": "16/255", "target_class": "least-likely"},
        {"baseline": "none", "eps": (16 / 255,), "target_class": "least-likely"},
    ),
    ({"target_class": "OWN:rule"}, {"target_class": "OWN:rule"}),
    ({"eps": ["2/255, 4/255", "0.1"], "balance": True}, {"eps": (2 / 255, 4 / 255, 0.1), "balance": True}),
    ({"untargeted": True, "precision": "bf16"}, {"targeted": False, "precision": "bf16"}),
    ({"compile": True}, {"compile": True}),
    ({"also_right": ["digits-resnet"]}, {"also_right": ("digits-resnet",)}),
    ({"attack": "auto", "budget": 50, "steps": None}, {"attack": "auto", "budget": 50}),
    ({"early_stop": True, "noise_draws": 2}, {"early_stop": True, "noise_draws": 2}),
    ({"no_early_stop": True}, {"early_stop": False}),
    (
        {"shaping": "edge", "term": ["prediction=0.5", "OWN:Far=2"]},
        {"shaping": "edge", "terms": ("prediction=0.5", "OWN:Far=2")},
    ),
    (
        {"evade": ["bit-depth:3<0.25,MEDIAN", "jpeg:75=0.5"]},
        {"evade": ("bit-depth:3<0.25", "median:2", "jpeg:75<0.5")},
    ),
    ({"measure": ["OWN:measure"]}, {"measures": ("OWN:measure",)}),
    (
        {"classifier": "timm:resnet10t", "weights": "best.pth", "mean": "0.1", "std": "0.2", "image_size": "48"},
        {"classifier": "timm:resnet10t", "weights": "best.pth", "mean": (0.1,), "std": (0.2,), "image_size": (48, 48)},
    ),
    (
        {"resize": 60, "interpolation": "bicubic", "channels": 3, "classes": "12"},
        {"resize": 60, "interpolation": "bicubic", "channels": 3, "classes": "12"},
    ),
    ({"bounds": "0,255", "channel_order": "bgr"}, {"bounds": (0.0, 255.0), "channel_order": "bgr"}),
    ({"features": "layer4", "class_map": "map.json"}, {"features": "layer4", "class_map": "map.json"}),
    (
        {"file_column": "scan", "label_column": "finding", "split": "val", "class_level": "2", "white": "4095"},
        {"file_column": "scan", "label_column": "finding", "split": "val", "class_level": 2, "white": 4095.0},
    ),
    ({"weights_key": "ema", "output": "pred"}, {"weights_key": "ema", "output": "pred"}),
    ({"labels": "predicted"}, {"labels": "predicted"}),
]
"""Words of the command line, and the settings that they stand for. OWN stands for the user's file."""


def with_file(value: Any, file: Path) -> Any:
    """Put the user's file in the place of OWN."""
    if isinstance(value, str):
        return value.replace("OWN", str(file))
    return type(value)(with_file(each, file) for each in value) if isinstance(value, list | tuple) else value


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """The configurations of the runs that the command asks for, and that are not made."""
    seen: list[RunConfig] = []

    def perform(jobs: Any, **_: Any) -> None:
        seen.append(jobs[0].config)
        raise InputError("far enough")

    monkeypatch.setattr(runner, "perform", perform)
    return seen


@pytest.mark.parametrize(("words", "expected"), WORDS)
def test_every_option_is_in_the_configuration(
    command: Command,
    asked: list[RunConfig],
    tmp_path: Path,
    own: Path,
    words: dict[str, Any],
    expected: dict[str, Any],
) -> None:
    words = {name: with_file(value, own) for name, value in words.items()}
    expected = {name: with_file(value, own) for name, value in expected.items()}
    assert "far enough" in command(*options(**words, out=tmp_path)).said
    (config,) = asked
    assert {name: getattr(config, name) for name in expected} == expected


def test_no_setting_is_without_an_option() -> None:
    assert {name for _, expected in WORDS for name in expected} == set(settings_of(RunConfig))


@pytest.mark.parametrize("name", EVERY)
def test_a_setting_has_one_name_and_one_default_everywhere(command: Command, name: str) -> None:
    """Walks the models: the option, its words, the line of --dump-config, and the keyword in Python."""
    field, described = EVERY[name]
    flags = {flag: option for option in COMMANDS[("attack",)].params for flag in option.opts}
    shown = [option for option in (flags[flag] for flag in described.names(name)) if not option.hidden]
    assert shown, "one of the setting's options is in the help text"
    assert described.help in shown[0].help.replace("\\[", "[")
    if described.default:
        assert f"[default: {described.default}]" in shown[0].help.replace("\\[", "[")
    lines = command(
        *options(interpreter=None, attack=None, eps=None, steps=None, count=None, no_page=None, dump_config=True)
    )
    (line,) = [line for line in lines.out.splitlines() if line.removeprefix("# ").split()[0] == name]
    if name in settings_of(ExecutionSettings) | settings_of(ScoringSettings):
        return
    written_value = None if line.startswith("#") else tomllib.loads(line)[name]
    made = to_values(RunConfig.create(**WHERE))[name]
    assert written_value == (None if field.default is None else made), "a default that is settled later stays a comment"
    if field.default is None and described.default:
        assert line.endswith(f"(default: {described.default})")
    if name not in WHERE:
        default = list(field.default) if isinstance(field.default, tuple) else field.default
        assert written_value == default or (default is None and str(written_value) == described.default)
    if name in settings_of(AttackSettings):
        assert field.default == settings_of(Preset)[name][0].default == settings_of(RunConfig)[name][0].default
        assert name in (*SETTINGS, "attack")


def test_options_state_their_names_themselves() -> None:
    """So that they do not depend on how a version of typer derives names from parameters."""
    for words, inner in COMMANDS.items():
        for option in inner.params:
            if option.param_type_name == "option" and option.name != "help":
                assert all(flag.startswith("--") and flag == flag.lower() for flag in option.opts), (words, option.opts)
    for model in (InputSettings, RunConfig):
        flags = {flag for option in COMMANDS[("attack",)].params for flag in option.opts}
        assert {flag for name, (_, described) in settings_of(model).items() for flag in described.names(name)} <= flags


def declared(app: typer.Typer) -> Iterator[tuple[str, inspect.Parameter, Any]]:
    """List the parameters of all commands as the code declares them, before typer derives anything from them."""
    for command in app.registered_commands:
        assert command.name, f"{command.callback} has no name"
        for parameter in inspect.signature(command.callback, eval_str=True).parameters.values():
            if parameter.annotation is not typer.Context:
                yield command.name, parameter, get_args(parameter.annotation)
    for group in app.registered_groups:
        yield from declared(group.typer_instance)


def test_nothing_is_left_for_typer_to_name() -> None:
    """typer 0.27.0 to 0.27.2 named the option of a parameter ``data`` ``--DATA`` if the value's word was ``DATA``."""
    found = list(declared(commands.app))
    assert {name for name, _, _ in found} == {words[-1] for words in COMMANDS if words} - {"train", "detect"}
    for command, parameter, (_, made) in found:
        names = (made.default, *(made.param_decls or ()))  # typer keeps the first name as the default
        stated = made.metavar if isinstance(made, ArgumentInfo) else any(str(name).startswith("--") for name in names)
        assert stated, f"the parameter {parameter.name} of {command} states no name"
        assert isinstance(made, ArgumentInfo | OptionInfo)


@pytest.mark.parametrize(("old", "new", "value"), [("preset", "variant", "published"), ("target", "target_class", "3")])
def test_former_names_work_and_warn(
    command: Command, asked: list[RunConfig], tmp_path: Path, old: str, new: str, value: str
) -> None:
    ended = command(*options(**{old: value}, out=tmp_path))
    assert f"--{old} is deprecated" in ended.said
    assert f"use --{new.replace('_', '-')}." in ended.said
    assert getattr(asked[0], new) == value
    assert f"--{old}" not in command("attack", "--help").out.split(), "a former name is hidden"
    both = command(*options(**{old: value, new: value}, out=tmp_path))
    assert (both.code, "two names of one setting" in both.said) == (2, True)
    with pytest.warns(DeprecatedWarning, match=f"the setting {old} is deprecated"):
        assert RunConfig.create(**WHERE, **{old: value}) == asked[0].__class__.create(**WHERE, **{new: value})
    with pytest.raises(InputError, match=f"{old} is the former name of {new}"):
        RunConfig.from_values({**WHERE, old: value, new: value})


def test_configurations_of_earlier_versions_are_read() -> None:
    """Without a warning: nobody can change what an old run has written. Settings that it lacks have their defaults."""
    old = {**WHERE, "target": "random", "preset": "paper", "target_map": "benign", "eps": 0.031, "mean": None}
    assert RunConfig.from_values(old) == RunConfig.create(**WHERE)
    assert set(former_names(RunConfig)) == {"target", "preset"}


def test_all_problems_are_said_at_once(command: Command, tmp_path: Path) -> None:
    ended = command(*options(seed="x", count=0, steps="1", precision="int4", batch_size=0, out=tmp_path))
    for part in ("seed is 'x'", "count is 0", "steps is '1'", "precision is 'int4'", "batch_size is 0"):
        assert part in ended.said
    ended = command(*options(interpreter="cam,cam", attack="adv3", baseline="foo", measure="no.py:x", out=tmp_path))
    for part in (
        "interpreter has 'cam' twice",
        "unknown attack 'adv3'",
        "baseline is 'foo'",
        "file 'no.py' does not exist",
    ):
        assert part in ended.said
    with pytest.raises(InputError) as caught:
        RunConfig.create(data="some", cuont=3, sead=1)
    for part in ("'cuont'", "'sead'", "classifier is missing"):
        assert part in str(caught.value)


def test_each_has_no_readers() -> None:
    with pytest.raises(InputError, match="each is set, and readers is lrp: readers read the images of one attack"):
        RunConfig.create(**WHERE, each=True, readers=("lrp",))


def test_it_runs_as_a_module() -> None:
    def ran(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120)

    done = ran("-m", "underfire", "--version")
    assert (done.returncode, done.stdout) == (0, f"underfire {uf.__version__}\n")
    wrong = ran("-m", "underfire.cli", "attack", "--nonsense")
    assert (wrong.returncode, "See underfire attack --help" in wrong.stderr) == (2, True)
    imported = ran("-c", "import underfire.__main__, underfire.cli.__main__")
    assert (imported.returncode, imported.stdout, imported.stderr) == (0, "", ""), "importing it runs nothing"


@pytest.mark.parametrize(
    "settings",
    [
        {"attack": "advedge+", "eps": 0.2, "edge_threshold": 0.3, "edge_scope": "warmup", "target_map": "patch"},
        {"attack": "adv2", "perturbation": "cw", "noise_eps": 0.1, "search": 3, "steps": (5, 6), "early_stop": True},
        {"attack": "advedge", "perturbation": "stadv", "early_stop": False},
        {"attack": "pgd", "targeted": False},
        {"attack": "CW", "search": 3},
    ],
)
def test_the_configuration_is_the_attack(settings: dict[str, Any]) -> None:
    for variant in ("paper", "published"):
        found = RunConfig.create(**WHERE, **settings, variant=variant).presets([], 10)[0]
        name, others = settings["attack"].lower(), {key: value for key, value in settings.items() if key != "attack"}
        assert found == preset(name, **others, variant=variant)
        written = RunConfig.create(**WHERE, **settings, variant=variant).to_dict()
        assert RunConfig.create(**written).presets([], 10)[0] == found, "from the file and back"
        assert (written["eps"] is None) is bool({name, settings.get("perturbation")} & {"cw", "stadv"})
    given = RunConfig.create(**WHERE, target_class="3").presets([], 10)[0]
    assert given == preset("adv2", target_class=attacks.GivenClass(3))
