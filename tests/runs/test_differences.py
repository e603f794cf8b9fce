"""The differences between two runs, as an error message names them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import underfire as uf
from tests.conftest import tiny_network
from tests.runs.conftest import small_config
from underfire import attacks
from underfire.errors import StoreError
from underfire.runs import run_attack
from underfire.runs.differences import differences
from underfire.runs.identity import described


def adv2(**settings: object) -> str:
    system = uf.System(uf.Classifier(tiny_network()), "cam")
    return described(attacks.preset("adv2", **settings).build(system))


def test_settings_are_named_one_by_one() -> None:
    assert differences({"seed": 0, "eps": [0.2]}, {"seed": 1, "eps": [0.1]}) == [
        *("seed was 0, is 1", "eps was [0.2], is [0.1]")
    ]
    assert differences({"seed": 0, "other": 1}, {"seed": 0}) == []
    assert differences({}, {"images": {"attacked": 2}}) == ["images.attacked was None, is 2"]
    assert differences({"images": {"a": 1, "b": 2}}, {"images": {"a": 1}}) == ["images.b was 2, is None"]


def test_of_two_attacks_only_the_settings_that_differ_are_named() -> None:
    """Regression: the message held both attacks in full, several thousand characters."""
    found = differences({"attacks": {"adv2": adv2(eps=0.1)}}, {"attacks": {"adv2": adv2(eps=0.2)}})
    assert found == ["attacks.adv2.perturbation.eps was 0.1, is 0.2"]
    found = differences({"attacks": {"adv2": adv2(steps=(1, 2))}}, {"attacks": {"adv2": adv2(steps=(1, 3))}})
    assert found == ["attacks.adv2.stages[1].steps was 2, is 3"]
    changed = differences({"attacks": {"a": adv2()}}, {"attacks": {"a": adv2(perturbation=attacks.StAdv())}})
    assert "attacks.a.stages[0].moves[0].rule was Sign(), is Adam(" in "; ".join(changed)
    assert all(len(phrase) < 250 for phrase in changed)
    added = differences({"attacks": {"a": "PGD(eps=0.1)"}}, {"attacks": {"a": "PGD(eps=0.1, evened=False)"}})
    assert added == ["attacks.a.evened was missing, is False"]


@pytest.mark.parametrize("text", ["Own(<f>)", "Own(", "Own)", "(1)", "Own(" * 200 + ")"])
def test_texts_that_are_no_python_are_shortened_around_the_difference(text: str) -> None:
    held, now = f"{'x' * 100}1{text}", f"{'x' * 100}2{text}"
    (found,) = differences({"a": held}, {"a": now})
    assert found.startswith("a was ...xxx")
    assert f"{'x' * 15}1{text[:20]}" in found
    assert f"{'x' * 15}2{text[:20]}" in found
    assert len(found) < 150


def test_cells_are_told_apart_by_label_and_their_keys_come_last() -> None:
    def cells(key: str, seed: int) -> dict[str, object]:
        return {"cells": [{"label": "clean", "key": "k"}, {"label": "adv2", "key": key, "seed": seed}]}

    assert differences(cells("a", 0), cells("b", 1)) == ["cells.adv2.seed was 0, is 1"]
    assert differences(cells("a", 0), cells("b", 0)) == ["cells.adv2.key was 'a', is 'b'"]


def test_the_error_of_a_run_with_other_attacks_is_short(tmp_path: Path) -> None:
    run_attack(small_config(count=1), tmp_path / "run")
    file = tmp_path / "run" / "run.json"
    record = json.loads(file.read_text())
    record["attacks"]["adv2"] = record["attacks"]["adv2"].replace("Linear(", "Line(")
    file.write_text(json.dumps(record | {"finished": False}))
    with pytest.raises(StoreError, match=r"another run: attacks\.adv2\.stages\[1\].*weight was Line\(.*Linear") as at:
        run_attack(small_config(count=1), tmp_path / "run", resume=True)
    assert len(str(at.value)) < 400
