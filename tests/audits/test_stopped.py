"""An audit that was stopped goes on where it was, and finds the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from torch import Tensor

import underfire as uf
from tests.audits.conftest import RADII, SHORT, Given, same
from underfire.attacks.progress import Progress
from underfire.audits import Audit, Member, audit, running
from underfire.audits.attacking import Attacks
from underfire.audits.case import Case


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


def test_a_stop_within_an_attack_costs_a_few_images(
    digits: Given, found: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network for photographs one attack takes twenty minutes and more: what it has found so far is kept."""
    made = list[tuple[str, float, tuple[int, ...]]]()
    make = Attacks.make

    def noted(attacks: Attacks, member: Member, case: Case, places: Tensor, heard: Progress) -> Tensor:
        key = (member.name, case.eps, tuple(places.tolist()))
        if [each[0] for each in made[-2:]] == ["auto-1st"] * 2 and not any(each[0] == "stopped" for each in made):
            made.append(("stopped", *key[1:]))
            raise KeyboardInterrupt
        made.append(key)
        return make(attacks, member, case, places, heard)

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
