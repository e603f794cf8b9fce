"""Runs that several tests look at."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runs.runs import MISLABELLED, Command, Written, make_command, write_digits
from underfire.runs import RunConfig, run_attack

SHOWN = range(MISLABELLED - 8, MISLABELLED + 6)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


@pytest.fixture(scope="session")
def digits_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 14 digits, one of which has a wrong label."""
    return write_digits(tmp_path_factory.mktemp("digits"), SHOWN)


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory, digits_table: Path) -> Written:
    """ADV2 against two interpreters, with enough steps that some images are jointly fooled and some are not."""
    config = RunConfig.create(
        data=str(digits_table),
        classifier="digits-resnet",
        interpreters=("cam", "grad"),
        eps=0.2,
        steps=(10, 30),
        seed=3,
    )
    folder = tmp_path_factory.mktemp("full")
    run_attack(config, folder, batch_size=8)
    return Written(folder)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The smallest run: two images, two steps."""
    folder = tmp_path_factory.mktemp("small")
    run_attack(small_config(), folder)
    return Written(folder)


def small_config(**changes: object) -> RunConfig:
    chosen = {"data": "digits:test", "classifier": "digits-resnet", "steps": (1, 1), "count": 2}
    if not {changes.get("attack"), changes.get("perturbation")} & {"cw", "stadv"}:
        chosen["eps"] = 0.2
    return RunConfig.create(**(chosen | changes))
