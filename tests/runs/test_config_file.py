"""Configuration files: ``--config``, ``--dump-config``, and the way from one to the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.runs.runs import Command, options
from underfire.campaigns import runner
from underfire.cli.attack import MODELS
from underfire.cli.configuration import read_configuration, written
from underfire.errors import InputError
from underfire.runs import RunConfig
from underfire.runs.execution import Execution, ExecutionSettings, ScoringSettings
from underfire.settings import create, settings_of, to_values

WHERE = {"data": "digits:test", "classifier": "digits-resnet"}


def test_the_command_line_overrides_the_file(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run.toml").write_text(
        'data = "digits:train"\nclassifier = "digits-resnet"\nseed = 1\ncount = 2\neach = true\ntargeted = false\n'
        f'interpreters = ["cam", "grad"]\nout = "{tmp_path / "from-file"}"\nbatch_size = 3\ndevice = "cpu"\n'
    )
    seen: list[Any] = []

    def perform(jobs: Any, *, execution: Execution, **_: Any) -> None:
        seen.append((jobs[0].config, jobs[0].folder, execution.batch_size, execution.device))
        raise InputError("far enough")

    monkeypatch.setattr(runner, "perform", perform)
    command("attack", "--config", tmp_path / "run.toml")
    config, out, batch, device = seen.pop()
    assert (config.data, config.seed, config.count, config.each, config.targeted) == ("digits:train", 1, 2, True, False)
    assert (config.interpreters, out, batch, device) == (("cam", "grad"), tmp_path / "from-file", 3, "cpu")
    words = ["--seed", "5", "--no-each", "--targeted", "--interpreter", "lrp", "--out", tmp_path / "new"]
    command("attack", *words, "--config", tmp_path / "run.toml", "--batch-size", "auto", "--device", "auto")
    config, out, batch, device = seen.pop()
    assert (config.data, config.seed, config.count, config.each, config.targeted) == ("digits:train", 5, 2, False, True)
    assert (config.interpreters, out, batch, device) == (("lrp",), tmp_path / "new", None, "auto")


def test_files_may_hold_numbers_where_the_command_line_has_texts(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(
        "image_size = 24\nmean = 0.25\nstd = [0.5]\nclasses = 10\ntarget_class = 3\nterms = {prediction = 0.5}\n"
    )
    config = RunConfig.from_values(WHERE | read_configuration(tmp_path / "run.toml", MODELS))
    assert (config.image_size, config.mean, config.std, config.classes) == ((24, 24), (0.25,), (0.5,), "10")
    assert (config.target_class, config.terms) == ("3", ("prediction=0.5",))


def test_wrong_files(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('data = "digits:test"\n\ncuont = 4\n[sede]\nx = 1\n')
    ended = command("attack", "--config", file)
    assert ended.code == 2
    assert f"{file}, line 3: unknown setting 'cuont'. Did you mean 'count'?" in "".join(ended.err.splitlines()) or (
        "line 3: unknown setting 'cuont'. Did you mean 'count'?" in ended.said
    )
    assert "line 4: unknown setting 'sede'. Did you mean 'seed'?" in ended.said
    for content, said in (("seed = ", "is no TOML"), ("seed = 1\nseed = 2\n", "is no TOML")):
        file.write_text(content)
        ended = command("attack", "--config", file)
        assert (ended.code, said in ended.said) == (2, True)
    ended = command("attack", "--config", tmp_path / "none.toml")
    assert (ended.code, "cannot be read" in ended.said) == (2, True)
    file.write_text('preset = "paper"\nvariant = "paper"\n')
    assert "preset is the former name of variant" in command("attack", "--config", file).said


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "data": TEXT,
    "classifier": TEXT,
    "weights": TEXT,
    "weights_key": TEXT,
    "output": TEXT,
    "mean": st.lists(NUMBERS, min_size=1).map(tuple),
    "std": st.lists(NUMBERS, min_size=1).map(tuple),
    "image_size": st.tuples(st.integers(1, 999), st.integers(1, 999)),
    "resize": st.integers(1, 999),
    "interpolation": TEXT,
    "channels": st.integers(),
    "bounds": st.tuples(NUMBERS, NUMBERS),
    "channel_order": TEXT,
    "classes": TEXT,
    "features": TEXT,
    "class_map": TEXT,
    "file_column": TEXT,
    "label_column": TEXT,
    "split": TEXT,
    "class_level": st.integers(1, 9),
    "white": NUMBERS,
    "interpreters": st.lists(st.sampled_from(["cam", "grad", "lrp:z+", "rts:my,folder"]), min_size=1, unique=True),
    "each": st.booleans(),
    "baseline": st.just("none"),
    "balance": st.just(False),
    "count": st.integers(1, 10**9),
    "seed": st.integers(-(2**63), 2**63 - 1),
    "precision": st.sampled_from(["float32", "bf16"]),
    "eps": st.lists(st.floats(1 / 255, 1), min_size=1, max_size=3, unique=True),
    "steps": st.tuples(st.integers(0, 99), st.integers(1, 99)),
    "variant": st.sampled_from(["paper", "published"]),
    "target_class": TEXT.filter(lambda text: ".py:" not in text and text != ""),
    "early_stop": st.booleans(),
    "shaping": st.sampled_from(["uniform", "edge", "edge-mask"]),
    "terms": st.lists(st.sampled_from(["prediction=0.5", "interpretation=2"]), unique=True),
    "out": TEXT,
    "batch_size": st.integers(1, 10**6),
    "device": TEXT,
}


ALWAYS = ("data", "classifier", "out")


@given(
    st.fixed_dictionaries(
        {name: VALUES[name] for name in ALWAYS},
        optional={name: values for name, values in VALUES.items() if name not in ALWAYS},
    )
)
@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
def test_what_is_dumped_is_read_back(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    beside = (ExecutionSettings, ScoringSettings)
    made = {
        model: create(model, {name: value for name, value in values.items() if name in settings_of(model)})
        for model in beside
    }
    own = {name for model in beside for name in settings_of(model)}
    config = RunConfig.create(**{name: value for name, value in values.items() if name not in own})
    file = tmp_path_factory.mktemp("dump") / "run.toml"
    dumped = config.to_dict() | {name: value for each in made.values() for name, value in to_values(each).items()}
    file.write_text(written(dumped, MODELS), encoding="utf-8")
    read = read_configuration(file, MODELS)
    for model in beside:
        assert create(model, {name: read.pop(name) for name in settings_of(model) if name in read}) == made[model]
    assert RunConfig.from_values(read) == config
    assert RunConfig.from_values(config.to_dict()) == config, "from JSON values, too"


def test_a_dumped_default_does_not_bind(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: the dump held eps = 0.031, which was refused together with ``--perturbation cw``."""
    seen: list[RunConfig] = []

    def perform(jobs: Any, **_: Any) -> None:
        seen.append(jobs[0].config)
        raise InputError("far enough")

    monkeypatch.setattr(runner, "perform", perform)
    dumped = command(*options(eps=None, out=tmp_path / "out", dump_config=True)).out
    for name in ("eps", "target_class", "target_map", "shaping", "count"):
        assert (f"\n# {name} is not set" in f"\n{dumped}") == (name != "count")
    (tmp_path / "run.toml").write_text(dumped, encoding="utf-8")
    command("attack", "--config", tmp_path / "run.toml")
    command(*options(eps=None, out=tmp_path / "out"))
    assert seen[0] == seen[1]
    command("attack", "--config", tmp_path / "run.toml", "--perturbation", "cw")
    assert (seen[2].perturbation, seen[2].eps) == ("cw", None)
    command("attack", "--config", tmp_path / "run.toml", "--untargeted")
    assert not seen[3].targeted
    given = command(*options(eps="8/255", target_class="random", out=tmp_path / "out", dump_config=True)).out
    assert f"\neps = [{8 / 255!r}]\n" in given
    assert '\ntarget_class = "random"\n' in given


def test_dump_config_does_nothing_else(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "perform", None)
    words = options(count=3, out=tmp_path / "out", term=["prediction=0.5"], no_early_stop=True, dump_config=True)
    first = command(*words)
    assert (first.code, first.err) == (0, "")
    assert not (tmp_path / "out").exists()
    (tmp_path / "run.toml").write_text(first.out, encoding="utf-8")
    assert command("attack", "--config", tmp_path / "run.toml", "--dump-config").out == first.out
    without = command(*options(out=None, dump_config=True))
    assert "# out is not set" in without.out
