"""The lead over the prediction-only attack in words: what another limit would undo, and what may be chance."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.reports.fakes import Fake
from tests.reports.test_words import ENOUGH, Varied
from underfire.reports.trust import cautions
from underfire.reports.words import caution, paragraph


def test_a_lead_that_another_limit_would_undo_is_told_from_none(tmp_path: Path) -> None:
    """Regression: a lead with p = 0.016 was called no clear difference, compared image by image."""

    class Narrow(Fake):
        """All maps lie below the limit, which one noisy map sets."""

        def success(self, i: int, attack: str) -> bool:
            return True

        def distance(self, i: int, attack: str, reader: int = 0) -> float:
            return {"clean": 0.0, "noise": 0.05 if i else 0.1, "pgd": 0.3}.get(attack, 0.09)

    account = Narrow().account(tmp_path / "narrow")
    lead, p = account.lead("cam"), account.p_value("cam")
    assert lead is not None
    assert (lead["mean"], p) == (1.0, pytest.approx(2 / 2**8))
    assert lead["low"] <= 0
    assert caution(account, "cam") == "few images; its lead depends on the limit, which is uncertain"
    said = " ".join(cautions(account.run))
    assert "at this limit of kept maps (p = 0.008), but another sample of images may have a limit" in said
    assert "compared image by image" not in said
    assert paragraph(account).endswith("depends on the limit of kept maps, which is uncertain.")


def test_a_lead_that_the_test_cannot_tell_from_chance_is_not_called_one(tmp_path: Path) -> None:
    """Regression: the interval lay above 0 and p was 0.25, and only the interval was put into words."""

    class Few(Varied):
        """The attack has joint success on the first three of six images, and the control on none."""

        def success(self, i: int, attack: str) -> bool:
            return attack == self.attack and i < 3

    account = Few(count=6).account(tmp_path / "few", ENOUGH)
    lead, p = account.lead("cam"), account.p_value("cam")
    assert lead is not None
    assert (lead["mean"], p) == (0.5, pytest.approx(2 / 2**3))
    assert lead["low"] > 0
    assert caution(account, "cam") == "few images; by its p-value, its lead may be chance"
    assert "does not tell this lead from chance (p = 0.250)" in " ".join(cautions(account.run))
    assert paragraph(account).endswith("may be chance (p = 0.250), although its interval lies above 0.")


@pytest.mark.parametrize(
    ("count", "doubt", "end"),
    [
        (
            5,
            "too few images to test its lead",
            "5 images are too few to test its lead over the prediction-only attack.",
        ),
        (6, "few images", "For most images, someone who checks the explanation would notice nothing."),
    ],
)
def test_five_images_are_too_few_for_the_test_and_six_are_not(count: int, doubt: str, end: str, tmp_path: Path) -> None:
    """With joint success on all images and none of the control's, p is 2 / 2^5 or 2 / 2^6."""

    class All(Varied):
        def success(self, i: int, attack: str) -> bool:
            return attack == self.attack

    account = All(count=count).account(tmp_path / "all", ENOUGH)
    assert account.p_value("cam") == pytest.approx(2 / 2**count)
    assert caution(account, "cam") == doubt
    assert ("too few to test the lead" in " ".join(cautions(account.run))) == (count == 5)
    assert paragraph(account).endswith(end)
