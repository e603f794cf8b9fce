"""A run on MASK: its noise floor stands beside the other controls, its page says so, and the table has it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import underfire as uf
from benchmarks import core_tables
from benchmarks.grid_tables import Cell
from tests.runs.conftest import small_config
from tests.runs.runs import Command, Written
from underfire import randomness
from underfire.attacks.noise import NOISE_DRAWS
from underfire.interpreters import MASK
from underfire.reports.page import write_page
from underfire.runs import run_attack

SOLVED = 40
"""Iterations of MASK in the run that is looked at."""


@contextmanager
def shorter(iterations: int) -> Iterator[None]:
    """MASK in a few iterations, whoever makes it."""
    real = MASK.__init__

    def begin(self: MASK, *arguments: Any, **options: Any) -> None:
        real(self, *arguments, **options)
        object.__setattr__(self, "iterations", iterations)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MASK, "__init__", begin)
        yield


@pytest.fixture
def quick() -> Iterator[None]:
    """For what does not depend on the maps themselves."""
    with shorter(5):
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("mask") / "cell"
    with shorter(SOLVED):
        run_attack(small_config(interpreters=("mask", "cam"), count=3, steps=(2, 2)), folder)
    return Written(folder)


def test_the_noise_floor_is_a_control(run: Written) -> None:
    assert {row["attack"] for row in run.rows} == {"clean", "reseeded", "noise", "bim", "adv2"}
    classifier = uf.classifiers.load("digits-resnet")
    rows = run.of("reseeded", "mask")
    images = run.images(rows)
    ids = randomness.identify(images, [row["image_id"] for row in rows])
    labels = torch.tensor([row["label"] for row in rows])
    maps = [MASK(seed=seed, iterations=SOLVED).maps(classifier, images, labels, ids=ids) for seed in (0, 1)]
    floor = (maps[0] - maps[1]).abs().mean((1, 2))
    assert [row["map_l1"] for row in rows] == pytest.approx(floor.tolist(), abs=1e-5)
    assert float(floor.mean()) > 0
    assert {row["map_l1"] for row in run.of("reseeded", "cam")} == {0.0}
    for row, expected in zip(run.of("clean", "mask"), maps[0], strict=True):
        assert torch.allclose(run.maps[f"clean/mask/{row['image_id']}"], expected, atol=1e-5)


def test_the_table_has_it(run: Written) -> None:
    config = {"classifier": "digits-resnet", "interpreters": ("mask", "cam")}
    lines = core_tables.tables([Cell("cell", config, run.folder)]).splitlines()
    assert all(len(line.split("|")) == len(lines[0].split("|")) for line in lines)
    shown = {line.split("|")[4].strip(" *"): line for line in lines[2:]}
    for what, share in run.summary["chance"]["mask"].items():
        line = shown.pop(f"{what.replace('_', ' ')} (chance)")
        assert f"{share['mean']:.3f} [{share['low']:.3f}, {share['high']:.3f}]" in line
    assert set(shown) == {"reseeded", "noise", "bim", "adv2"}
    for attack, line in shown.items():
        found = run.summary["interpreters"]["mask"]["attacks"][attack]["map_l1"]
        assert f"{found['mean']:.3f} [{found['low']:.3f}, {found['high']:.3f}]" in line


def test_the_page_has_it(run: Written) -> None:
    page = write_page([run.folder], run.folder.parent / "page.html", "mask").read_text()
    assert "another seed alone moves the clean images" in page


def test_explain_shows_the_maps_of_a_run(run: Written, command: Command, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    with shorter(SOLVED):
        ended = command(
            *("explain", "--data", "digits:test", "--classifier", "digits-resnet", "--interpreter", "mask"),
            *("--class", "label", "--count", 2, "--out", tmp_path / "out"),
        )
    assert ended.code == 0, ended.err
    found = load_file(next((tmp_path / "out").glob("*.safetensors")))
    names = {row["image_id"] for row in run.of("clean", "mask")}
    shared = [(key, value) for key, value in found.items() if any(name in key for name in names)]
    assert shared
    for key, value in shared:
        name = next(name for name in names if name in key)
        assert torch.allclose(value, run.maps[f"clean/mask/{name}"], atol=1e-5)


def test_every_honest_map_is_solved_for_once(quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clean, other seed, noise and two attacks: what takes minutes on photos is not done a sixth time."""
    from underfire.interpreters import mask

    solved, solve = [0], mask.solve

    def counted(problem: Any, run: Any, images: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        solved[0] += 1
        return solve(problem, run, images, *arguments, **options)

    monkeypatch.setattr(mask, "solve", counted)
    run_attack(small_config(interpreters=("mask",), count=3, steps=(2, 2)), tmp_path / "run")
    assert solved[0] == 4 + NOISE_DRAWS


def test_what_takes_long_between_steps_is_said(quick: None, tmp_path: Path) -> None:
    """Maps are solved for where no step is made: a run that only counted steps would seem to hang."""
    from rich.progress import Progress

    from underfire.cli.screen import RunBars

    said: list[str] = []

    class Listening(RunBars):
        def reading(self, what: str) -> None:
            super().reading(what)
            said.append(self.progress.tasks[-1].description)

        def running(self, done: int, total: int) -> None:
            super().running(done, total)
            said.append(self.progress.tasks[-1].description)

    def listening() -> Listening:
        said.clear()
        return Listening(Progress(disable=True), "mask")

    solved = small_config(interpreters=("mask",), count=2, steps=(1, 1))
    run_attack(solved, tmp_path / "run", reporter=listening())
    assert list(dict.fromkeys(said)) == [
        *("benign maps mask", "attacking mask", "maps after bim mask", "maps after adv2 mask"),
        *("reseeded maps mask", "maps under noise mask"),
    ]
    assert said[-1] == "attacking mask"
    run_attack(small_config(target_map="class", count=2), tmp_path / "class", reporter=listening())
    assert said[0] == "maps of classes mask"
