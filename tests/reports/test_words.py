"""The results of a run in words, and the choice of images for galleries and figures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reports.fakes import Fake
from underfire.reports.account import Account, accounts_of, spread
from underfire.reports.columns import page_columns
from underfire.reports.curves import threshold_chart
from underfire.reports.trust import cautions, trust
from underfire.reports.words import caution, paragraph, percent, with_interval
from underfire.runs import Run


def interval(mean: float, low: float, high: float, n: int = 24) -> dict[str, Any]:
    return {"mean": mean, "low": low, "high": high, "n": n}


@given(st.lists(st.floats(0, 1), max_size=40), st.integers(0, 12))
def test_a_spread_holds_both_ends_and_nothing_twice(values: list[float], count: int) -> None:
    chosen = spread(values, count)
    assert len(chosen) == len(set(chosen)) == min(count, len(values))
    assert [values[i] for i in chosen] == sorted(values[i] for i in chosen)
    if min(count, len(values)) >= 2:
        assert (values[chosen[0]], values[chosen[-1]]) == (min(values), max(values))


def test_a_spread_is_even_over_the_order() -> None:
    values = [0.9, 0.1, 0.5, 0.3, 0.7, 0.2, 0.4, 0.6, 0.8]
    assert [values[i] for i in spread(values, 3)] == [0.1, 0.5, 0.9]
    assert [values[i] for i in spread(values, 5)] == [0.1, 0.3, 0.5, 0.7, 0.9]
    assert values[spread(values, 1)[0]] == 0.5
    assert spread([0.5, float("nan"), 0.1], 2) == [2, 1]


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0 %"), (1, "100 %"), (0.9167, "92 %"), (0.999, "99 %"), (0.001, "1 %"), (0.5, "50 %")]
)
def test_only_exact_shares_become_0_and_100_percent(share: float, text: str) -> None:
    assert percent(share) == text


def test_intervals_in_words() -> None:
    assert with_interval(interval(0.9167, 0.7917, 1.0)) == "92 % [79, 100]"
    assert with_interval({"mean": None, "low": None, "high": None, "n": 0}) == "unknown"


def test_the_paragraph_says_joint_success_first(tmp_path: Path) -> None:
    account = Fake().account(tmp_path)
    joint = account.run.summary()["joint_success"]["cam"]
    assert joint["mean"] == 3 / 8  # images 0, 1, 2: reached, and nearer than 0.1
    text = paragraph(account)
    then = f"{with_interval(joint)} were then classified as a class drawn at random and kept their cam map"
    assert text.startswith(f"Of 8 images that toy classified correctly, {then}")
    alone = "The attack on the prediction alone (pgd) had this joint success on 0 % [0, 32]"
    assert f"{alone}, although it reached the class on 75 % [41, 93]" in text
    assert "No pixel value was changed by more than 3 of 255 levels." in text


def test_the_paragraph_names_the_goal(tmp_path: Path) -> None:
    fake = Fake(interpreters=("cam", "grad"))

    def said(place: str, **configuration: Any) -> str:
        return paragraph(fake.account(tmp_path / place, configuration))

    assert "classified as the class that was least likely before" in said("a", target_class="least-likely")
    assert "classified as the class be\\u202ee" in said("b", target_class="be\u202ee")
    text = said("c", targeted=False)
    assert "classified as a wrong class and kept all of their maps at once" in text


class Uneven(Fake):
    """One image keeps Grad's map, three images keep CAM's."""

    def distance(self, i: int, attack: str, reader: int = 0) -> float:
        return super().distance(i, attack) + (0.07 if reader and attack == self.attack else 0)


def test_of_several_maps_all_must_be_kept(tmp_path: Path) -> None:
    account = Uneven(interpreters=("cam", "grad")).account(tmp_path)
    text = paragraph(account)
    assert "12 % [2, 47] were then classified as a class drawn at random and kept all of their maps at once" in text
    assert "Each map by itself: 38 % [14, 69] with cam and 12 % [2, 47] with grad." in text
    assert "had this joint success on 0 % [0, 32], although it reached the class on 75 % [41, 93]; each map by" in text
    assert account.joint("attack", None) == account.run.summary()["joint_success_all"]["adv2"]


@pytest.mark.parametrize(("attack", "said"), [("pgd", False), ("mine", True)])
def test_a_run_without_a_control_has_nothing_to_compare_with(tmp_path: Path, attack: str, said: bool) -> None:
    """An attack on the prediction alone is the control itself."""
    account = Fake(attack=attack).account(tmp_path)
    account.part.labels.pop("control", None)
    assert account.part.control is None
    assert "on the prediction alone" not in paragraph(account)
    assert any("there is nothing to compare with" in remark.text for remark in trust([account])) == said


@dataclass
class Varied(Fake):
    """The control reaches the class and keeps the map on every ``nth_control`` image, the attack on every ``nth``."""

    nth: int = 1
    nth_control: int = 0
    floor: float = 0.05
    noise_fools: int = 0

    def success(self, i: int, attack: str) -> bool:
        nth = self.nth if attack == self.attack else self.nth_control
        return bool(nth) and i % nth == 0

    def distance(self, i: int, attack: str, reader: int = 0) -> float:
        return {"clean": 0.0, "noise": 0.1, "reseeded": self.floor}.get(attack, 0.02)

    def class_changed_by_noise(self, i: int) -> bool:
        return bool(self.noise_fools) and i % self.noise_fools == 0


STEADY: dict[str, Any] = {"count": 200, "noise_size": 4 / 255}
ENOUGH = {"steps": [40, 160], "eps": 4 / 255}


def test_a_small_short_run_is_warned_of(tmp_path: Path) -> None:
    account = Fake().account(tmp_path / "a")
    careful = " ".join(cautions(account.run))
    assert "Only 8 images were attacked" in careful
    assert "ran 10 + 40 steps" in careful
    assert "changed no pixel value by more than 3 of 255 levels, and noise changes each by 8" in careful
    published = Fake(noise_size=4 / 255).account(tmp_path / "b", {"steps": None, "eps": 4 / 255})
    careful = " ".join(cautions(published.run))
    assert "steps" not in careful
    assert "levels" not in careful
    assert caution(account, "cam") == "few images; no clear difference from the prediction-only attack"


def test_nothing_speaks_against_a_long_run_that_is_ahead(tmp_path: Path) -> None:
    images = {"attacked": 200, "considered": 400, "correctly_classified": 230, "unreadable": []}
    account = Varied(**STEADY, nth_control=5).account(tmp_path, ENOUGH, images=images)
    assert cautions(account.run) == []
    assert caution(account, "cam") == ""
    assert "230 of them were classified correctly; 30 of these belong to the target class already." in [
        remark.text.removeprefix("400 images were looked at, ") for remark in trust([account])
    ]
    assert "For most images, someone who checks the explanation would notice nothing." in paragraph(account)


def test_a_control_that_does_as_well_is_warned_of(tmp_path: Path) -> None:
    """Attack and control are compared image by image, not by their intervals, which may overlap."""
    equal = Varied(**STEADY, nth=5, nth_control=5).account(tmp_path / "equal", ENOUGH)
    unclear = "With cam, joint success shows no clear difference from the prediction-only attack, compared image by"
    assert unclear in " ".join(cautions(equal.run))
    assert caution(equal, "cam") == "no clear difference from the prediction-only attack"
    assert paragraph(equal).endswith("There is no clear difference from the prediction-only attack.")
    often = Varied(**STEADY, nth=1, nth_control=2).account(tmp_path / "often", ENOUGH)
    said = " ".join(cautions(often.run))
    assert (
        "Even the attack on the prediction alone leaves the cam map below the limit on 50 %: a kept map says little"
        in said
    )
    assert caution(often, "cam") == "the prediction-only attack alone has 50 %"


def test_a_limit_below_the_interpreters_own_randomness_is_warned_of(tmp_path: Path) -> None:
    steady = Varied(**STEADY, reseeded=True, floor=0.09).account(tmp_path / "steady", ENOUGH)
    assert cautions(steady.run) == []
    assert "another seed alone moves the clean images' maps by 0.090" in " ".join(r.text for r in trust([steady]))
    unsteady = Varied(**STEADY, reseeded=True, floor=0.11).account(tmp_path / "unsteady", ENOUGH)
    assert "the limit is below that distance, so that a map can count as kept only by chance" in " ".join(
        cautions(unsteady.run)
    )


def test_noise_that_fools_and_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    images = {
        "attacked": 200,
        "considered": 300,
        "correctly_classified": 140,
        "unreadable": [{"path": "a\u202eb.png", "why": "broken"}],
    }
    fake = Varied(**STEADY, interpreters=("cam", "grad"), noise_fools=5)
    careful = " ".join(cautions(fake.account(tmp_path, ENOUGH, images=images).run))
    assert "1 file left out, because reading failed: a\\u202eb.png" in careful
    assert "140 of them were classified correctly" in careful  # fewer than half
    # Regression: it was said once per interpreter, though it is about the class alone.
    assert careful.count("Noise alone already changes the class of 20 % of the images") == 1


class Toward(Varied):
    """An attack toward another map: benign maps are 0.4 away from it, and halfway counts as reached."""

    def to_wanted(self, i: int, attack: str, reader: int = 0) -> float:
        return {"clean": 0.4, "noise": 0.4, self.attack: 0.1}.get(attack, 0.15)


def test_another_map_than_the_benign_one(tmp_path: Path) -> None:
    """The text never says "kept" then, and the limit does not come from noise."""
    account = Toward(**STEADY, keeps=False, nth_control=2).account(tmp_path / "far", ENOUGH)
    text = paragraph(account)
    assert "showed the wanted cam map: the explanation is the one that the attack chose" in text
    assert text.endswith("For most images, the explanation is the one that the attack chose.")
    assert "kept" not in text
    assert "notice nothing" not in text
    careful = " ".join(cautions(account.run))
    assert "Even the attack on the prediction alone brings the cam map half of the way to the wanted one on" in careful
    remarks = " ".join(remark.text for remark in trust([account]))
    assert "less than half as far from the wanted map as the benign map is: 0.200 on average" in remarks
    chart = threshold_chart([account], "cam")
    assert "half of the benign maps' mean distance" in chart.about
    assert [(mark.x, mark.text) for mark in chart.marks] == [(pytest.approx(0.2), "halfway")]
    assert "map_l1_target" in [measure.name for measure in page_columns(account)]
    benign = Varied(**STEADY).account(tmp_path / "benign", ENOUGH)
    assert "kept their cam map" in paragraph(benign)
    assert "map_l1_target" not in [measure.name for measure in page_columns(benign)]
    few = Toward(**STEADY, keeps=False, nth=100).account(tmp_path / "few", ENOUGH)
    assert "or the map stayed far from the wanted one" in paragraph(few)


@pytest.mark.parametrize(
    ("count", "nth", "words"),
    [
        (4, 0, "There is no clear difference from the prediction-only attack."),
        (200, 0, "For nearly all images, either the class was not reached or the map showed the attack."),
        (40, 4, "For some of the images, someone who checks the explanation would notice nothing."),
        (40, 1, "For most images, someone who checks the explanation would notice nothing."),
    ],
)
def test_the_verdict_follows_the_interval(tmp_path: Path, count: int, nth: int, words: str) -> None:
    """Regression: with an interval from 0 to 49 %, the text said "a part of the images"."""
    account: Account = Varied(count=count, nth=nth).account(tmp_path)
    assert paragraph(account).endswith(words)


def test_none_of_a_few_is_not_a_share(tmp_path: Path) -> None:
    """Without a control, the text gives no other verdict."""
    account = Varied(count=4, nth=0, attack="pgd").account(tmp_path)
    said = "It worked on none of these images; they are too few to conclude that it works on no others."
    assert paragraph(account).endswith(said)


def test_the_text_does_not_depend_on_the_summary_file(tmp_path: Path) -> None:
    """Without ``summary.json``, everything is computed from the rows, with the same result."""
    fake = Fake(interpreters=("cam", "grad"))
    expected = paragraph(fake.account(tmp_path))
    (tmp_path / "summary.json").unlink()
    (account,) = accounts_of(Run(tmp_path))
    assert paragraph(account) == expected


@pytest.mark.parametrize(("nth", "nth_control"), [(0, 0), (0, 2), (2, 2)])
def test_the_paragraph_claims_nothing_where_nothing_was_kept(tmp_path: Path, nth: int, nth_control: int) -> None:
    """Regression: of no image it said "the explanation does not show the attack", and of equal shares "although"."""
    account = Varied(nth=nth, nth_control=nth_control).account(tmp_path)
    text = paragraph(account)
    assert ("kept their cam map: the explanation does not show the attack." in text) == bool(nth)
    assert ("kept their cam map. " in text) == (not nth)
    both, reached = (account.group("control", "cam")[name]["mean"] for name in ("joint_success", "success"))
    assert ("although" in text) == (reached > both)
    assert "and it reached the class on" in text or "although it reached the class on" in text
