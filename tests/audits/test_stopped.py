"""An audit that was stopped goes on where it was, and finds the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import underfire as uf
from tests.audits.conftest import RADII, SHORT, Given, same
from tests.disk import files_of_at_most
from underfire.attacks.progress import Progress
from underfire.audits import Audit, Member, audit, running
from underfire.audits.attacking import Attacks, Made
from underfire.audits.case import Case
from underfire.audits.ensemble import Kind
from underfire.errors import NoGradientError, StoreError


def test_it_goes_on_where_it_stopped(
    digits: Given, found: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, attacks = uf.System(digits.classifier, ["cam"]), set[str]()
    shares: list[float] = []

    def stop(words: str, share: float) -> None:
        if words.endswith("auto-1st"):
            raise KeyboardInterrupt

    def again(words: str, share: float) -> None:
        shares.append(share)
        if ":" in words:
            attacks.add(words)

    how = {"eps": RADII, "ensemble": SHORT, "ids": digits.ids, "folder": tmp_path}
    with pytest.raises(KeyboardInterrupt):
        audit(system, digits.images, digits.labels, progress=stop, **how)
    result = audit(system, digits.images, digits.labels, progress=again, **how)
    assert len(attacks) == 2 * len(SHORT) - 2
    assert "cam at 0.25: auto" in attacks
    assert shares == sorted(shares)
    assert shares[-1] < 1
    assert len(set(shares)) > 4 * len(attacks), "it moves within an attack, which may take minutes"
    again_alone = audit(uf.System(digits.classifier, ["cam"]), digits.images, digits.labels, **how)
    assert [each.fooled.tolist() for each in again_alone.results] == [each.fooled.tolist() for each in result.results]
    for mine, whole in zip(result.results, found.results[:2], strict=True):
        same(mine, whole)


@pytest.mark.parametrize("kind", ["apgd-ce", "auto", "search"])
def test_progress_moves_within_every_attack(kind: Kind, digits: Given) -> None:
    shares = list[float]()
    audit(
        *(uf.System(digits.classifier, ["cam"]), digits.images, digits.labels),
        eps=0.01,
        ensemble=[Member("mine", kind, 10)],
        progress=lambda _, share: shares.append(share),
    )
    assert shares == sorted(shares)
    assert len(set(shares)) >= 10


def test_a_stop_within_an_attack_costs_a_few_images(
    digits: Given, found: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network for photographs one attack takes twenty minutes and more: what it has found so far is kept."""
    made = list[tuple[str, float, tuple[int, ...]]]()
    make = Attacks.make

    def noted(
        attacks: Attacks, member: Member, case: Case, places: Tensor, heard: Progress, leaving: bool = True
    ) -> Made:
        key = (member.name, case.eps, tuple(places.tolist()))
        if [each[0] for each in made[-2:]] == ["auto-1st"] * 2 and not any(each[0] == "stopped" for each in made):
            made.append(("stopped", *key[1:]))
            raise KeyboardInterrupt
        made.append(key)
        return make(attacks, member, case, places, heard, leaving)

    monkeypatch.setattr(Attacks, "make", noted)
    monkeypatch.setattr(running, "BLOCK", 2)
    monkeypatch.setattr(running, "QUICK", 0.0)
    how = {"eps": RADII, "ensemble": SHORT, "ids": digits.ids, "folder": tmp_path}
    system = uf.System(digits.classifier, ["cam"])
    with pytest.raises(KeyboardInterrupt):
        audit(system, digits.images, digits.labels, **how)
    before = len(made)
    result = audit(system, digits.images, digits.labels, **how)
    stopped = made[before - 1]
    assert stopped[0] == "stopped"
    assert made[before] == ("auto-1st", *stopped[1:]), "it goes on with the images that were in hand"
    tried = [(name, eps, place) for name, eps, places in made if name != "stopped" for place in places]
    assert len(tried) == len(set(tried)), "no attack is made twice on an image"
    assert all(len(places) <= 2 for _, _, places in made)
    for mine, whole in zip(result.results, found.results[:2], strict=True):
        same(mine, whole)


class Dark(nn.Module):
    """Class 0 by its bias alone if the image is black: its features, and their slopes, are zero there."""

    def __init__(self) -> None:
        super().__init__()
        self.features, self.act, self.head = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.ReLU(), nn.Linear(4, 3)
        with torch.no_grad():
            self.head.bias.copy_(torch.tensor([0.3, 0, 0]))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.act(self.features(images)).mean((2, 3)))
        return logits


def test_an_image_without_a_gradient_stops_no_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: alone in the last block, it ended the attack, and later attacks left the other images out."""
    torch.manual_seed(0)
    classifier = uf.Classifier(Dark().eval(), image_size=(12, 12), channels=1)
    images = torch.rand(5, 1, 12, 12)
    images[4] = 0
    monkeypatch.setattr(running, "BLOCK", 4)
    monkeypatch.setattr(running, "QUICK", 0.0)
    found = audit(uf.System(classifier, ["cam"]), images, classifier.logits(images).argmax(1), eps=0.01, ensemble=SHORT)
    assert not [each for each in found.doubts if "did not run" in each.text]
    (result,) = found.results
    assert not result.fooled.any()
    assert result.gradients.tolist() == [sum(member.steps for member in SHORT[:-1])] * 5, "the search takes none"


@pytest.mark.parametrize("stopped", [False, True])
def test_a_member_that_cannot_go_on_leaves_all_images_to_the_next(
    stopped: bool, digits: Given, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: the images that it had attacked counted as attacked by the next one, and after a stop by it."""
    attacked = list[tuple[str, tuple[int, ...]]]()
    make = Attacks.make

    def refusing(
        attacks: Attacks, member: Member, case: Case, places: Tensor, heard: Progress, leaving: bool = True
    ) -> Made:
        if member.name == "auto" and 4 in places:
            raise NoGradientError("flat")
        if stopped and attacked[-1:] == [("auto-1st", (0, 1))]:
            raise KeyboardInterrupt
        attacked.append((member.name, tuple(places.tolist())))
        return make(attacks, member, case, places, heard, leaving)

    monkeypatch.setattr(Attacks, "make", refusing)
    monkeypatch.setattr(running, "BLOCK", 2)
    monkeypatch.setattr(running, "QUICK", 0.0)
    how = {"eps": 0.01, "ensemble": SHORT[1:3], "ids": digits.ids, "folder": tmp_path}
    system = uf.System(digits.classifier, ["cam"])
    if stopped:
        with pytest.raises(KeyboardInterrupt):
            audit(system, digits.images, digits.labels, **how)
        attacked.clear()
    found = audit(system, digits.images, digits.labels, **how)
    blocks = [(0, 1), (2, 4), (5, 6), (7, 8), (9, 10), (11,)]
    assert [places for name, places in attacked if name == "auto"] == blocks[: not stopped]
    assert [places for name, places in attacked if name == "auto-1st"] == blocks[stopped:]
    assert [each.hides for each in found.doubts if "did not run" in each.text] == [True]
    steps = SHORT[2].steps
    assert found.results[0].gradients.tolist() == [steps + 25, steps + 25, steps, 0, *[steps] * 8]


def test_a_folder_that_cannot_be_made_is_said_before_the_work(digits: Given, tmp_path: Path) -> None:
    """Regression: a file in its place ended in a raw NotADirectoryError, a path as text in an AttributeError."""
    (tmp_path / "file").write_text("mine")
    heard = list[str]()
    with pytest.raises(StoreError, match="file is a file; give a folder"):
        audit(
            *(digits.classifier, digits.images, digits.labels),
            folder=str(tmp_path / "file"),
            progress=lambda words, _: heard.append(words),
        )
    assert not heard


def test_a_full_disk_is_said(digits: Given, tmp_path: Path) -> None:
    system = uf.System(digits.classifier, ["cam"])
    with pytest.raises(StoreError) as caught, files_of_at_most(1000):
        audit(
            *(system, digits.images, digits.labels),
            eps=0.2,
            ensemble=[Member("mine", "auto", 2)],
            folder=str(tmp_path / "new"),
        )
    assert str(caught.value) == f"{tmp_path / 'new' / 'cam-0.200000.npz'} cannot be written: File too large."
    assert list((tmp_path / "new").iterdir()) == []
