"""Tracking: finished runs logged to MLflow, Weights & Biases, or a tracker of the user's own.

Another tracker is one class with a method ``log``, and one line in ``TRACKERS``; or a ``file.py:Class``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from underfire.errors import InputError, UnderfireError, warn
from underfire.registry import Registry
from underfire.reports.account import accounts_of
from underfire.runs.run import Run

PROJECT = "underfire"
"""The experiment of MLflow, or the project of Weights & Biases, unless the environment names another one."""
FILES = ("summary.json", "run.json", "results.parquet", "page.html", "figure.png")
"""The files of a run that are logged, if they exist."""
NOTE = "tracked.json"
"""The file in a run's folder that says which trackers have the run."""
PATIENCE = 2
"""After so many failures in a row, no other run is logged: each may take minutes to fail."""


@dataclass(frozen=True)
class TrackedRun:
    """What is logged of a run.

    Args:
        name: the run's name.
        group: the name of the campaign; empty if there is none.
        settings: the configuration, as JSON values.
        numbers: the summary's numbers, by names such as ``joint_success/cam``.
        files: tables, figure and page.
    """

    name: str
    group: str
    settings: dict[str, Any]
    numbers: dict[str, float]
    files: tuple[Path, ...]


class Tracker(Protocol):
    """Logs runs."""

    def log(self, run: TrackedRun) -> None:
        """Log one run. Any error that it raises becomes a warning."""


class MLflow:
    """Logs to MLflow: to the server or folder that ``MLFLOW_TRACKING_URI`` names.

    ``MLFLOW_EXPERIMENT_NAME`` names another experiment than ``underfire``.

    Raises:
        InputError: MLflow is not installed.
    """

    def __init__(self) -> None:
        self._mlflow = _installed("mlflow")

    def log(self, run: TrackedRun) -> None:
        """Log one run, as a run of the experiment."""
        if not {"MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"} & set(os.environ):
            self._mlflow.set_experiment(PROJECT)
        with self._mlflow.start_run(run_name=run.name, tags={"campaign": run.group} if run.group else None):
            self._mlflow.log_params({name: _short(value) for name, value in run.settings.items()})
            self._mlflow.log_metrics(_allowed(run.numbers))
            for file in run.files:
                self._mlflow.log_artifact(str(file))


LONGEST = 6000
"""The largest number of characters of a parameter's value in MLflow."""


def _short(value: Any) -> str:
    return str(value)[:LONGEST]


def _allowed(numbers: dict[str, float]) -> dict[str, float]:
    """Replace characters in names that MLflow refuses; equal names that result get a number."""
    found: dict[str, float] = {}
    for name, value in numbers.items():
        safe = spelled = re.sub(r"[^/\w.\- ]", "_", name, flags=re.ASCII)
        count = 2
        while spelled in found:
            spelled, count = f"{safe}-{count}", count + 1
        found[spelled] = value
    return found


class WandB:
    """Logs to Weights & Biases. ``wandb login`` comes first, or ``WANDB_MODE=offline``.

    ``WANDB_PROJECT`` names another project than ``underfire``.

    Raises:
        InputError: wandb is not installed.
    """

    def __init__(self) -> None:
        self._wandb = _installed("wandb")

    def log(self, run: TrackedRun) -> None:
        """Log one run, as a run of the project; the campaign is its group."""
        project = None if "WANDB_PROJECT" in os.environ else PROJECT
        with self._wandb.init(project=project, name=run.name, group=run.group or None, config=run.settings) as logged:
            logged.log(run.numbers)
            if run.files:
                name = re.sub(r"[^\w.-]", "_", f"{run.group}-{run.name}".strip("-"), flags=re.ASCII)[:120]
                artifact = self._wandb.Artifact(name, type="run")
                for file in run.files:
                    artifact.add_file(str(file))
                logged.log_artifact(artifact)


def _installed(module: str) -> Any:
    """Import a tracker's package."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise InputError(f"track is {module!r}, and {error.name} is not installed: pip install {module}.") from error
    except Exception as error:  # a package that is installed, and broken
        raise InputError(
            f"track is {module!r}, and that package cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _accept(value: Any) -> Callable[[], Tracker]:
    if not callable(value):
        raise TypeError("expected a class with a method log(run), or a function that returns such an object")
    found: Callable[[], Tracker] = value
    return found


TRACKERS: Registry[Callable[[], Tracker]] = Registry(
    "tracker", "underfire.trackers", {"mlflow": MLflow, "wandb": WandB}, _accept
)
"""The trackers of ``--track``, by name."""


class Tracking:
    """Logs finished runs to one tracker. A run that cannot be logged is a warning, never an error.

    Args:
        name: a name in ``TRACKERS``, or ``file.py:Class``.
        group: the name of the campaign; empty if there is none.

    Raises:
        InputError: there is no such tracker, or its package is not installed.
    """

    def __init__(self, name: str, group: str = "") -> None:
        self.name, self.group = name, group
        made = TRACKERS.find(name)
        try:
            self._tracker = made()
        except UnderfireError:
            raise
        except Exception as error:  # the user's own class, which may raise anything
            raise InputError(f"track is {name!r}, which cannot be made: {type(error).__name__}: {error}") from error
        if not callable(getattr(self._tracker, "log", None)):
            raise InputError(f"track is {name!r}, which makes an object without a method log(run).")
        self._failed = 0

    def log(self, folder: Path, name: str) -> bool:
        """Log the finished run in a folder, if this tracker does not have it.

        Args:
            folder: the run's folder.
            name: the run's name.

        Returns:
            True if it was logged now.
        """
        if self._failed >= PATIENCE:
            return False
        try:
            summary = hashlib.sha256((folder / "summary.json").read_bytes()).hexdigest()
            held = _held(folder)
            if held.get(self.name) == summary:
                return False
            with redirect_stdout(sys.stderr):  # trackers print addresses, and stdout is for results
                self._tracker.log(tracked(Run(folder), name, self.group))
            (folder / NOTE).write_text(json.dumps(held | {self.name: summary}) + "\n", encoding="utf-8")
        except Exception as error:  # no network, a full disk, a tracker's own fault: the run itself is finished
            self._failed += 1
            last = " No further run is logged." if self._failed == PATIENCE else ""
            again = " 'underfire run' with --resume and --track tries again." if self.group else ""
            warn(
                f"{name} was not logged to {self.name}: {type(error).__name__}: {error}. Its results are complete."
                f"{last}{again}"
            )
            return False
        self._failed = 0
        return True


def _held(folder: Path) -> dict[str, str]:
    """Read which trackers have the run, with the hash of the summary that they have."""
    try:
        found = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def tracked(run: Run, name: str, group: str = "") -> TrackedRun:
    """Collect what is logged of a run.

    Numbers have the interpreter behind their name, and the attack's label before it if the run has several attacks:
    ``joint_success``, ``success``, ``map_l1``, each with ``_low`` and ``_high``; the same of the control as
    ``control_joint_success``; ``limit`` (below which a map counts) and ``n``.
    """
    numbers: dict[str, float] = {}
    accounts = accounts_of(run)
    for account in accounts:
        before = f"{account.part.cell.label}/" if len(accounts) > 1 else ""
        for interpreter in account.part.interpreters:
            for role, prefix in (("attack", ""), ("control", "control_")):
                if not account.part.has(role):
                    continue
                means = account.group(role, interpreter)
                for measure in ("joint_success", "success", "map_l1"):
                    for key, end in (("mean", ""), ("low", "_low"), ("high", "_high")):
                        value = means[measure][key]
                        if value is not None:
                            numbers[f"{before}{prefix}{measure}{end}/{interpreter}"] = float(value)
            numbers[f"{before}limit/{interpreter}"] = float(account.part.mean_limit(interpreter))
            numbers[f"{before}n/{interpreter}"] = float(account.attacked)
    files = tuple(path for path in (run.path / file for file in FILES) if path.exists())
    return TrackedRun(name, group, dict(run.configuration), numbers, files)
