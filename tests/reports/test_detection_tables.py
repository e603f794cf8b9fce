"""The tables of ``detect evaluate`` say how little few images tell."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from underfire.reports.detection import detection_tables

NOTHING = {"mean": None, "low": None, "high": None, "n": 0}


def row(kind: str, images: int, successes: int) -> dict[str, Any]:
    """One entry of ``Evaluation.rows``, with the keys that tables read."""
    names = ("auc", "detection", "triple_success", "joint_success")
    about = {"run": "a", "detector": "b", "cell": kind, "eps": None, "caution": "", "steps": None}
    numbers = {"n": images, "successes": successes, "threshold": 0.5, "false_positives": 0.05}
    return {"kind": kind, **about, **numbers, **dict.fromkeys(names, NOTHING)}


@pytest.mark.parametrize(
    ("images", "successes", "said"),
    [
        (29, 20, ["Only 29 images: intervals are very wide."]),
        (1, 0, ["Only 1 image: intervals", "No attack reached its class, so that nothing is known of what"]),
        (30, 30, []),
        (30, 1, ["At most 1 image reached the class of an attack: intervals of AUC and detected are very wide."]),
        (64, 0, ["No attack reached its class"]),
    ],
)
def test_few_images_are_named(images: int, successes: int, said: list[str]) -> None:
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(
        detection_tables([row("clean", images, 0), row("control", images, 40), row("attack", images, successes)])
    )
    warned = [line[2:] for line in console.export_text().splitlines() if line.startswith("! ")]
    assert len(warned) == len(said)
    assert all(line.startswith(wanted) for line, wanted in zip(warned, said, strict=True))
