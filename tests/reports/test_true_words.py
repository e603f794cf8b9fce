"""The sentences of a report: what an attack tried to do, and why some images were not attacked."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from tests.reports.fakes import Fake
from underfire.reports import trust
from underfire.reports.sentences import sentences
from underfire.reports.table import summary_table


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "2 of these belong to the target class already."),
        ({"also_right": ["a", "b"]}, "2 of these are classified wrongly by a or b."),
        (
            {"also_right": ["a"], "target_class": "bee"},
            "2 of these belong to the target class already, or are classified wrongly by a.",
        ),
    ],
)
def test_images_that_were_left_out_and_why(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    """Regression: images that other classifiers get wrong were put down to the target class."""
    images = {"considered": 12, "correctly_classified": 10, "attacked": 8, "unreadable": []}
    account = Fake().account(tmp_path / "run", changes, images=images)
    assert any(remark.text.endswith(said) for remark in trust.on_run(account))
    console = Console(width=400)
    with console.capture() as shown:
        console.print(summary_table(account.run))
    assert said.replace("these", "those") in shown.get()


class OnPredictionAlone(Fake):
    """The attack is ``pgd``, which looks at the prediction alone; there is no control beside it."""

    @property
    def attacks(self) -> list[str]:
        return ["clean", "noise", "pgd"]


def test_an_attack_on_the_prediction_alone_tried_nothing_else(tmp_path: Path) -> None:
    """Regression: the page said that it tried to keep the explanation, and missed an attack like itself."""
    alone = OnPredictionAlone(attack="pgd").account(tmp_path / "alone")
    said = sentences([alone])
    assert "pgd tried to change the class of 8 images" in said
    assert "into a class drawn at random. It did not look at the explanation. The class was reached, and" in said
    assert "did both" not in said
    assert "No attack on the prediction alone" not in said
    both = sentences([alone, Fake().account(tmp_path / "joint")])
    assert "and, but for attacks on the prediction alone, to keep the explanation as it was. pgd did not look" in both
    several = [Fake(attack=name).account(tmp_path / name) for name in ("adv2", "advedge")]
    assert "did not look at the explanation" not in sentences(several)
