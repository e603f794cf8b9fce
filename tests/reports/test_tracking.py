"""``--track``: what trackers get, and that none of them can cost finished work. Packages are imitated."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.campaigns.campaign import write_campaign
from tests.reports.fakes import Fake
from tests.runs.runs import Command, make_command, options
from underfire.errors import InputError, UnderfireWarning
from underfire.reports.tracking import NOTE, Tracking, tracked
from underfire.runs import Run


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Imitate the calls of MLflow that are used, with its rules for names. Returns the runs that it gets."""
    runs: list[dict[str, Any]] = []
    module: Any = ModuleType("mlflow")
    module.active, module.experiment = None, "Default"

    @contextmanager
    def start_run(run_name: str, tags: dict[str, str] | None = None) -> Iterator[None]:
        assert module.active is None
        module.active = {"name": run_name, "tags": tags, "experiment": module.experiment, "files": []}
        try:
            yield
            runs.append(module.active)
        finally:
            module.active = None

    def log_metrics(numbers: dict[str, float]) -> None:
        assert all(set(name) <= set(ALLOWED) for name in numbers)
        assert all(type(value) is float for value in numbers.values())
        module.active["numbers"] = numbers

    def log_params(settings: dict[str, str]) -> None:
        assert len(settings) <= 100  # of one request
        assert all(len(value) <= 6000 for value in settings.values())
        module.active["settings"] = settings

    module.start_run, module.log_metrics, module.log_params = start_run, log_metrics, log_params
    module.set_experiment = lambda name: setattr(module, "experiment", name)
    module.log_artifact = lambda path: module.active["files"].append(Path(path).name)
    monkeypatch.setitem(sys.modules, "mlflow", module)
    for name in ("MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"):
        monkeypatch.delenv(name, raising=False)
    return runs


ALLOWED = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/.- "


class FakeArtifact:
    def __init__(self, name: str, type: str) -> None:
        assert set(name) <= set(ALLOWED) - {"/", " "}
        self.name, self.type, self.files = name, type, list[str]()

    def add_file(self, path: str) -> None:
        assert Path(path).exists()
        self.files.append(Path(path).name)


class FakeRun:
    def __init__(self, given: dict[str, Any]) -> None:
        self.given, self.numbers, self.artifacts, self.ended = given, dict[str, float](), list[FakeArtifact](), False

    def __enter__(self) -> FakeRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.ended = True

    def log(self, numbers: dict[str, float]) -> None:
        self.numbers |= numbers

    def log_artifact(self, artifact: FakeArtifact) -> None:
        self.artifacts.append(artifact)


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> list[FakeRun]:
    """Imitate the calls of Weights & Biases that are used."""
    runs: list[FakeRun] = []
    module: Any = ModuleType("wandb")
    module.Artifact = FakeArtifact

    def init(project: str | None, name: str, group: str | None, config: dict[str, Any]) -> FakeRun:
        runs.append(FakeRun({"project": project, "name": name, "group": group, "config": config}))
        return runs[-1]

    module.init = init
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return runs


def test_the_numbers_are_those_of_the_summary(tmp_path: Path) -> None:
    folder = Fake(interpreters=("cam", "grad")).write(tmp_path / "run")
    found = tracked(Run(folder), "mine", "grid")
    summary = json.loads((folder / "summary.json").read_text())
    for name in ("cam", "grad"):
        groups = summary["interpreters"][name]["attacks"]
        for attack, prefix in (("adv2", ""), ("pgd", "control_")):
            for measure in ("joint_success", "success", "map_l1"):
                assert found.numbers[f"{prefix}{measure}/{name}"] == groups[attack][measure]["mean"]
                assert found.numbers[f"{prefix}{measure}_low/{name}"] == groups[attack][measure]["low"]
        assert found.numbers[f"limit/{name}"] == summary["joint_success_threshold"][name]["map_l1_below"]
        assert found.numbers[f"n/{name}"] == 8
    assert found.settings == Run(folder).configuration
    assert [file.name for file in found.files] == ["summary.json", "run.json", "results.parquet"]
    each = tracked(Run(Fake(interpreters=("cam", "grad"), each=True).write(tmp_path / "each")), "each")
    assert {"adv2-cam/joint_success/cam", "adv2-grad/limit/grad"} <= set(each.numbers)


def test_mlflow_gets_one_run_with_names_that_it_takes(tmp_path: Path, mlflow: list[dict[str, Any]]) -> None:
    folder = Fake(interpreters=("lrp:z+", "lrp:z(")).write(tmp_path / "run", {"data": "x" * 9000})
    tracking = Tracking("mlflow", "grid")
    assert tracking.log(folder, "run-1")
    (found,) = mlflow
    assert (found["name"], found["experiment"], found["tags"]) == ("run-1", "underfire", {"campaign": "grid"})
    assert {"joint_success/lrp_z_", "joint_success/lrp_z_-2"} <= set(found["numbers"])
    assert found["settings"]["classifier"] == "toy"
    assert found["files"] == ["summary.json", "run.json", "results.parquet"]
    assert not tracking.log(folder, "run-1"), "it has the run"
    assert not Tracking("mlflow").log(folder, "run-1"), "also in another process"
    assert len(mlflow) == 1


def test_wandb_gets_settings_numbers_and_files(tmp_path: Path, wandb: list[FakeRun]) -> None:
    folder = Fake().write(tmp_path / "run")
    assert Tracking("wandb", "my grid").log(folder, "adv2/cam")
    (found,) = wandb
    config = Run(folder).configuration
    assert found.given == {"project": "underfire", "name": "adv2/cam", "group": "my grid", "config": config}
    assert found.ended
    assert found.numbers == tracked(Run(folder), "").numbers
    (artifact,) = found.artifacts
    assert artifact.files == ["summary.json", "run.json", "results.parquet"]


def test_unknown_and_missing_trackers_are_said_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(InputError, match="mlflow is not installed: pip install mlflow"):
        Tracking("mlflow")
    ended = command(*options(out=tmp_path / "run", track="mlflow"))
    assert (ended.code, "is not installed" in ended.said) == (2, True)
    ended = command("run", write_campaign(tmp_path), "--out", tmp_path / "grid", "--track", "mlfow")
    assert (ended.code, "Did you mean 'mlflow'?" in ended.said) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["campaign.toml"]


OWN = """
class Mine:
    def log(self, run):
        raise ConnectionError(f"no network for {run.name}")


class Silent:
    pass
"""


def test_a_tracker_that_fails_is_a_warning(tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(OWN)
    tracking = Tracking(f"{own}:Mine", "grid")
    folders = [Fake(count=2).write(tmp_path / name) for name in ("a", "b", "c")]
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        assert not any(tracking.log(folder, folder.name) for folder in folders)
    said = [str(each.message) for each in found if issubclass(each.category, UnderfireWarning)]
    assert len(said) == 2  # the third run is not tried
    assert "a was not logged to" in said[0]
    assert "ConnectionError: no network for a. Its results are complete. 'underfire run' with --resume" in said[0]
    assert "No further run is logged." in said[1]
    assert not any((folder / NOTE).exists() for folder in folders)
    with pytest.raises(InputError, match=r"without a method log\(run\)"):
        Tracking(f"{own}:Silent")


def test_a_campaign_is_logged_run_by_run_and_once(
    tmp_path: Path, command: Command, mlflow: list[dict[str, Any]]
) -> None:
    file, out = write_campaign(tmp_path), tmp_path / "grid"
    words = ("run", file, "--out", out, "--no-page", "--batch-size", "4")
    own = tmp_path / "own.py"
    own.write_text(OWN)
    ended = command(*words, "--track", f"{own}:Mine")
    assert ended.code == 0, ended.err
    assert "cam was not logged" in ended.said
    assert mlflow == []
    for _ in range(2):
        assert command(*words, "--resume", "--track", "mlflow").code == 0
    assert sorted(run["name"] for run in mlflow) == ["cam", "grad"]
    assert {run["tags"]["campaign"] for run in mlflow} == {"campaign"}


def test_attack_logs_its_run_and_may_replace_it(tmp_path: Path, command: Command, mlflow: list[dict[str, Any]]) -> None:
    words = options(out=tmp_path / "mine", track="mlflow", count=2, steps="1,1")
    assert command(*words).code == 0
    assert [run["name"] for run in mlflow] == ["mine"]
    ended = command(*words, "--overwrite")
    assert ended.code == 0, ended.err
    assert len(mlflow) == 2, "a new run is logged anew"
