"""Names from outside are shown as they are, although the terminal's tables know a markup in brackets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console, RenderableType

from tests.reports.fakes import Fake
from underfire.cli.check import shown
from underfire.reports.classes import class_tables
from underfire.reports.detection import detection_tables
from underfire.reports.outliers import outlier_tables
from underfire.reports.scores import scores_table
from underfire.reports.table import summary_table
from underfire.runs import Run

BAD = "six [/x]"


def printed(what: RenderableType) -> str:
    console = Console(width=300)
    with console.capture() as found:
        console.print(what)
    return found.get()


@pytest.mark.parametrize("tables", [class_tables, outlier_tables, summary_table])
def test_names_of_a_run_are_no_markup(tmp_path: Path, tables: Any) -> None:
    """Regression: a crash of rich, or names without what stood in brackets."""
    folder = Fake(interpreters=(BAD,), attack="my [red]", class_names=(BAD, BAD, BAD)).write(tmp_path / "run")
    said = printed(tables(Run(folder)))
    assert BAD in said
    assert "my [red]" in said


def test_names_of_images_and_interpreters_are_no_markup() -> None:
    fitted: Any = SimpleNamespace(false_positives=0.05, threshold=0.5)
    row = {"image_id": "photo [red].png", "path": "", "score": 0.7, "flagged": True, "error": ""}
    assert "photo [red].png" in printed(scores_table(fitted, [row], 1))
    trial = SimpleNamespace(name=BAD, works=True, speed=None, problem=None)
    found: Any = SimpleNamespace(lines=(), verdict="ready", ready=True, trials=(trial,))
    assert BAD in printed(shown(found))
    none = {"mean": None, "low": None, "high": None, "n": 0}
    numbers = dict.fromkeys(("auc", "detection", "joint_success", "triple_success"), none)
    about = {
        "run": "r",
        "detector": "d",
        "cell": BAD,
        "kind": "attack",
        "eps": None,
        "caution": "",
        "steps": None,
        "n": 30,
    }
    judged = about | {"successes": 0, "false_positives": 0.05, "threshold": 0.5} | numbers
    assert BAD in printed(detection_tables([judged]))
