"""The files that an audit writes, the command, and the fixture for pytest."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

import underfire as uf
from tests.audits.conftest import SHORT, Given
from tests.runs.runs import Command
from underfire.audits import Audit, doubts
from underfire.audits.documents import annex, images_hash, junit, model_card
from underfire.audits.doubt import Doubt
from underfire.audits.gate import decide_all
from underfire.audits.writing import pictures_of, record, write_audit
from underfire.reports.audit_page import write_audit_page


def test_junit_counts(found: Audit) -> None:
    decisions = decide_all(found, 0.5)
    suite = ElementTree.fromstring(junit(found, decisions).encode())
    assert int(suite.attrib["tests"]) == len(suite) == 7
    baseline = tuple(replace(each, cause="baseline") for each in decisions[1:])
    names = [case.attrib["name"] for case in ElementTree.fromstring(junit(found, decisions + baseline).encode())]
    assert len(set(names)) == len(names)
    for state, tag in (("fail", "failure"), ("investigate", "error")):
        assert (
            int(suite.attrib[f"{tag}s"])
            == len(suite.findall(f".//{tag}"))
            == sum(each.state == state for each in decisions)
        )


def test_the_hash_is_that_of_the_pixels(digits: Given, found: Audit) -> None:
    pixels = np.rint(digits.images.numpy() * 255).astype(np.uint8)
    assert images_hash(found) == hashlib.sha256(pixels.tobytes()).hexdigest()


def test_the_annex_names_the_weights_that_were_audited(digits: Given, found: Audit) -> None:
    own = digits.classifier.sha256()
    assert f"`{own}`" in annex(found, ())
    assert record(found)["classifier_sha256"] == own


def test_annex_and_card_hold_every_number(found: Audit) -> None:
    for text in (annex(found, decide_all(found, 0.5)), model_card(found)):
        for each in found.results:
            joint = each.joint
            assert f"**{joint.mean:.3f} [{joint.low:.3f}, {joint.high:.3f}]**" in text


def test_the_card_keeps_what_hides_attacks(found: Audit) -> None:
    doubted = replace(found, doubts=(Doubt("gradients", "the gradient vanishes", True), Doubt("images", "few", False)))
    assert "the gradient vanishes" in model_card(doubted)
    assert "few." not in model_card(doubted)


def test_the_record_has_each_image(digits: Given, found: Audit) -> None:
    read = json.loads(json.dumps(record(found), allow_nan=False))
    for each, result in zip(read["results"], found.results, strict=True):
        assert [image["id"] for image in each["images"]] == list(digits.ids)
        assert [image["fooled"] for image in each["images"]] == result.fooled.tolist()


def test_the_worst_come_first(found: Audit) -> None:
    for each in found.results:
        places = found.worst_images(each)
        assert sorted(places) == np.flatnonzero(each.fooled).tolist()
        assert each.nearest[places].tolist() == sorted(each.nearest[places].tolist())
        shares = [fooled / right for _, fooled, right in found.worst_classes(each)]
        assert shares == sorted(shares, reverse=True)
        assert sum(right for _, _, right in found.worst_classes(each)) == each.correct.sum()


def test_the_page_shows_worst_images(digits: Given, found: Audit, tmp_path: Path) -> None:
    system = uf.System(digits.classifier, ["cam", "grad"])
    pictures = pictures_of(found, system, tmp_path, 2)
    page = write_audit_page(found, tmp_path / "audit.html", decide_all(found, 0.5), pictures).read_text(
        encoding="utf-8"
    )
    addresses = [address for each in pictures.values() for address, _ in each]
    assert len(addresses) == sum(min(2, int(each.fooled.sum())) for each in found.results) > 0
    for address in addresses:
        assert (tmp_path / address).exists()
        assert f'src="{address}"' in page


def test_long_names_of_interpreters(digits: Given, tmp_path: Path) -> None:
    """Regression: the names of two files of a user's were too long for the name of one file."""
    names = [f"{'long/path/' * 14}mine.py:{name}" for name in ("One", "Other")]
    system = uf.System(digits.classifier, {name: uf.interpreters.create("cam") for name in names})
    few = digits.images[:3], digits.labels[:3]
    found = uf.audit(system, *few, eps=0.3, ensemble=SHORT[:2], folder=tmp_path)
    assert len(list(tmp_path.glob("*.npz"))) == 3
    assert any(result.fooled.any() for result in found.results)
    addresses = [address for each in pictures_of(found, system, tmp_path, 3).values() for address, _ in each]
    assert len({*addresses}) == sum(int(each.fooled.sum()) for each in found.results)
    assert all((tmp_path / address).exists() for address in addresses)


def test_the_command(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    words = ["audit", "--data", "digits:test", "--classifier", "digits-resnet", "--interpreter", "cam", "--eps", "0.3"]
    out = ["--count", "8", "--out", tmp_path / "a"]
    ended = command(*words, *out, "--fail-below", "0.9", "--no-controls")
    assert ended.code == 1, ended.err
    assert max(len(line) for line in ended.out.splitlines()) <= 80
    made = {path.name for path in (tmp_path / "a").iterdir()}
    assert made >= {"audit.json", "annex.md", "model-card.md", "junit.xml", "audit.html", "state"}
    read = json.loads((tmp_path / "a" / "audit.json").read_text())
    assert read["decisions"][0]["state"] == "fail"
    shutil.copy(tmp_path / "a" / "audit.json", tmp_path / "last.json")
    again = command(*words, *out, "--json", "--baseline", tmp_path / "last.json", "--no-controls")
    assert again.code == 0, again.err
    assert json.loads(again.out)["results"] == read["results"]


def test_an_earlier_gate_leaves_no_file(found: Audit, tmp_path: Path) -> None:
    write_audit(found, decide_all(found, 0.5), tmp_path)
    assert (tmp_path / "junit.xml").exists()
    write_audit(found, (), tmp_path)
    assert not (tmp_path / "junit.xml").exists()


def test_a_limit_that_is_no_share_is_refused_before_the_audit(command: Command, tmp_path: Path) -> None:
    words = ["audit", "--data", "digits:test", "--classifier", "digits-resnet", "--out", tmp_path / "a"]
    ended = command(*words, "--fail-below", "20")
    assert ended.code == 2
    assert "fail_below is 20" in ended.err
    assert not (tmp_path / "a").exists()


def test_a_second_training_has_its_own_weights(
    digits: Given, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights of the first network are not taken for the second one."""
    monkeypatch.setattr("underfire.audits.auditing.ENSEMBLES", {"audit-1": SHORT[:1]})  # attacks are not the matter
    torch.save(digits.classifier.module.state_dict(), tmp_path / "first.pt")
    other = {name: values * 0 for name, values in digits.classifier.module.state_dict().items()}
    torch.save(other, tmp_path / "second.pt")
    words = [
        "audit",
        "--data",
        "digits:test",
        "--classifier",
        "digits-resnet",
        "--interpreter",
        "cam",
        "--eps",
        "1/255",
    ]
    words += ["--weights", tmp_path / "first.pt", "--count", "4"]
    for number, (more, said) in enumerate(
        [
            (["--again", "digits-resnet"], "rank correlation 1.00 with the maps of a second training"),
            (["--again-weights", tmp_path / "second.pt"], "reproducibility: unknown"),
        ]
    ):
        ended = command(*words, *more, "--out", tmp_path / str(number))
        assert ended.code == 0, ended.err
        (lines,) = json.loads((tmp_path / str(number) / "audit.json").read_text())["quality"].values()
        assert any(said in line for line in lines), lines
        page = (tmp_path / str(number) / "audit.html").read_text()
        assert page.count('<li class="unknown"><span class="sign" aria-hidden="true">?') == 1 + number, (
            "and localisation"
        )
        assert ("again is" in " ".join(ended.err.split())) == (number == 1), "another network is named on the terminal"


def test_pictures_of_random_maps_are_those_that_were_judged(digits: Given, tmp_path: Path) -> None:
    """An interpreter with random numbers reads the map of each image by its identity."""
    system = uf.System(digits.classifier, uf.interpreters.SmoothGrad(samples=4))
    some = slice(3)
    found = uf.audit(
        system, digits.images[some], digits.labels[some], eps=0.3, ensemble=SHORT[:2], ids=digits.ids[some]
    )
    (result,) = found.results
    place = found.worst_images(result)[0]
    asked: list[torch.Tensor] = []
    maps = uf.System.maps

    def spy(self: uf.System, images: torch.Tensor, classes: torch.Tensor, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        asked.append(maps(self, images, classes, ids)["smoothgrad"])
        return maps(self, images, classes, ids)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uf.System, "maps", spy)
        pictures_of(found, system, tmp_path, 1)
    before, after = asked
    assert float((before - after).abs().mean()) == pytest.approx(float(result.nearest[place]), abs=1e-5)


@pytest.mark.usefixtures("controls_once")
def test_the_fixture(digits: Given, underfire_audit: Callable[..., Audit], monkeypatch: pytest.MonkeyPatch) -> None:
    system, how = uf.System(digits.classifier, "cam"), {"ensemble": SHORT[:2]}
    audited = underfire_audit(system, digits.images, digits.labels, eps=1 / 255, fail_below=0.5, **how)
    (result,) = audited.results
    assert result.joint.low is not None
    assert result.joint.low >= 0.5
    how["controls"] = False
    with pytest.raises(pytest.fail.Exception, match="fail: joint robust accuracy"):
        underfire_audit(system, digits.images, digits.labels, eps=0.3, fail_below=0.9, **how)
    with pytest.raises(pytest.fail.Exception, match=r"investigate: .* images would likely decide"):
        underfire_audit(system, digits.images, digits.labels, eps=1 / 255, fail_below=0.9, **how)
    how["accept_uncertain"] = True
    underfire_audit(system, digits.images, digits.labels, eps=1 / 255, fail_below=0.9, **how)
    flat = doubts.FLAT
    monkeypatch.setattr("underfire.audits.doubts.FLAT", -1.0)  # gradients are doubted
    with pytest.raises(pytest.fail.Exception, match=r"investigate: .* but the gradient"):
        underfire_audit(system, digits.images, digits.labels, eps=1 / 255, fail_below=0.5, **how)
    monkeypatch.setattr("underfire.audits.doubts.FLAT", flat)
    monkeypatch.setattr("underfire.audits.controls.LIMIT", 0.0)
    how["controls"] = True
    with pytest.raises(pytest.fail.Exception, match="control does not work"):
        underfire_audit(system, digits.images, digits.labels, eps=1 / 255, fail_below=0.5, **how)
