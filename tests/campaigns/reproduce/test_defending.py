"""Tables on trained defenses, from the command to the numbers, on small networks."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import underfire as uf
from tests.campaigns.reproduce.made import made
from tests.runs.runs import Command, make_command
from underfire import metrics
from underfire.campaigns.folder import Campaign
from underfire.campaigns.reproduce import defending
from underfire.campaigns.reproduce.findings import Finding, read_findings
from underfire.campaigns.reproduce.grids import Choice
from underfire.campaigns.reproduce.judging import judge
from underfire.campaigns.reproduce.labels import LABELS, check_labels, labelled
from underfire.campaigns.reproduce.papers import paper
from underfire.campaigns.reproduce.selecting import arrange, shown
from underfire.checkpoints import write_weights
from underfire.defenses.aid import AidRecipe, train_aid
from underfire.errors import StoreError
from underfire.interpreters import create
from underfire.runs.saved_images import SavedImages

AID = ("--data", "scenes:test", "--classifier", "scenes-resnet", "--interpreter", "rts", "--count", "6")
ROBUST = ("advedge", "table7", "--data", "digits:test", "--classifier", "digits-resnet", "--count", "8")


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def masker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A masker by AID after three steps."""
    folder = tmp_path_factory.mktemp("masker") / "aid"
    recipe = AidRecipe(steps=3, batch=2, attacked=2, warmup=1, joint=1, rate=0.02)
    train_aid(uf.classifiers.load("scenes-resnet"), uf.data.open_data("scenes:train"), folder, recipe=recipe)
    return folder


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights that stand for a trained defense: those that ship, a little moved."""
    classifier = uf.classifiers.load("digits-resnet")
    generator = torch.Generator().manual_seed(0)
    for value in classifier.module.parameters():
        value.data += 0.02 * torch.randn(value.shape, generator=generator)
    file = tmp_path / "moved" / "digits.safetensors"
    file.parent.mkdir()
    write_weights(classifier.module, file, "moved")
    return file


def test_what_is_missing_is_said_with_the_command_that_makes_it(command: Command, tmp_path: Path) -> None:
    out = ("--out", str(tmp_path / "out"))
    alone = command("reproduce", *ROBUST, *out)
    assert alone.code == 2
    said = " ".join(alone.err.split())
    assert "table7 of advedge is not made: it needs a trained defense. 'underfire train robust " in said
    with_others = command("reproduce", "adv2", "table3", "table10", *AID, "--steps", "1,1", "--budget", "2", *out)
    assert with_others.code == 0
    assert "table10: not made: it needs a trained defense. 'underfire train aid" in " ".join(with_others.out.split())
    assert "## Table 3" in (tmp_path / "out" / "reproduction.md").read_text(encoding="utf-8")
    wrong = command("reproduce", *ROBUST, "--defended", "nowhere", *out)
    assert wrong.code == 2
    assert "defended is 'nowhere', and there is no such file or folder" in " ".join(wrong.err.split())


def test_a_masker_by_aid_beside_the_plain_one(command: Command, masker: Path, tmp_path: Path) -> None:
    out, defended = tmp_path / "out", f"rts:{masker}"
    given = ("adv2", "figure15", "figure16", "table10", *AID, "--steps", "2,2", "--defended", defended)
    ended = command("reproduce", *given, "--out", str(out))
    assert ended.code == 0, ended.err
    findings = [each for each in read_findings(out / "findings.parquet") if each.defense]
    classifier = uf.classifiers.load("scenes-resnet")
    batch = uf.data.open_data("scenes:test").load(
        classifier.image_size, classifier.channels, range(6), classifier.resizing
    )
    right = classifier.logits(batch.images).argmax(1) == batch.labels
    images, labels = batch.images[right], batch.labels[right]
    maps = [create(name).maps(classifier, images, labels) for name in ("rts", defended)]

    def one(beside: str, defense: str, size: str = "pgd") -> Finding:
        (found,) = (
            each for each in findings if (each.attack, each.defense, each.perturbation) == (beside, defense, size)
        )
        return found

    assert one("benign", "aid", "").values["map_l1"].tolist() == pytest.approx(metrics.map_l1(*maps).tolist())
    # ADV2 on each masker, and the plain masker's images as the other one reads them.
    campaign = Campaign(out)
    runs = {campaign.configuration(each.name)["interpreters"][0]: campaign.run(each.name) for each in campaign.finished}
    assert set(runs) == {"rts", defended}
    for name, defense in (("rts", "none"), (defended, "aid")):
        held = np.asarray(runs[name].column("adv2", "rts", "map_l1"), dtype=float)
        assert one("adv2", defense).values["map_l1"].tolist() == held.tolist()
    saved = SavedImages(runs["rts"], "adv2").load(classifier.image_size, classifier.channels)
    rows = runs["rts"].rows(["image_id", "target", "label"], "adv2").to_pylist()
    targets, own = (torch.tensor([row[key] for row in rows]) for key in ("target", "label"))
    clean = batch.images[[list(batch.ids).index(row["image_id"]) for row in rows]]
    interpreter = create(defended)
    moved = metrics.map_l1(
        interpreter.maps(classifier, saved.images, targets), interpreter.maps(classifier, clean, own)
    )
    unaware = one("unaware", "aid")
    assert [unaware.by_image("map_l1")[row["image_id"]] for row in rows] == pytest.approx(moved.tolist(), abs=1e-5)
    # Other tables do not show the defended masker.
    about = paper("adv2")
    ordinary = shown(about, about.chosen(["figure5"])[0], read_findings(out / "findings.parquet"))
    assert [(each.attack, each.defense) for each in ordinary] == [("adv2", ""), ("prediction-only", "")]
    # Noise: the share is at most the wanted one, and is the same for both maskers.
    for kind in ("normal noise", "uniform noise"):
        for size, most in (("0 %", 0.0), ("3 %", 0.03), ("30 %", 0.3)):
            plain, aid = (one(kind, each, size) for each in ("none", "aid"))
            wrong = plain.values["misclassified"]
            assert wrong.tolist() == aid.values["misclassified"].tolist()
            assert wrong.mean() <= most
            far = np.where(wrong == 1, aid.values["map_l1"], np.nan)
            assert np.array_equal(far, aid.values["map_l1_misclassified"], equal_nan=True)
            assert plain.values["map_l1"].tolist() != aid.values["map_l1"].tolist()
    text = (out / "reproduction.md").read_text(encoding="utf-8")
    assert "| classifier | input | size | none | aid |" in text
    assert "(0.170)" in text  # the published distance under noise
    assert list((out / "pictures").glob("figure16-*.png"))
    # The numbers alone make the tables again.
    shutil.copy(out / "findings.parquet", tmp_path)
    command("reproduce", "adv2", "figure15", "table10", "--out", str(tmp_path), "--show")
    again = (tmp_path / "reproduction.md").read_text(encoding="utf-8")
    assert [line for line in again.splitlines() if line[:1] == "|"] == [
        line for line in text.splitlines() if line[:1] == "|"
    ]


def test_robust_classifiers_over_the_radius(
    command: Command, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ("--out", str(tmp_path / "out"))
    given = (*ROBUST, "--steps", "1,2", "--defended", str(weights))
    assert command("reproduce", *given, *out).code == 0
    findings = read_findings(tmp_path / "out" / "findings.parquet")
    assert len(findings) == 2 * 2 * 7
    batch = uf.data.open_data("digits:test").load((16, 16), 1, range(8))
    for defense, file in (("none", None), ("moved", str(weights))):
        classifier = uf.classifiers.load("digits-resnet", weights=file)
        right = (classifier.logits(batch.images).argmax(1) == batch.labels).double().tolist()
        (clean,) = (
            each for each in findings if (each.defense, each.attack, each.perturbation) == (defense, "pgd", "0/255")
        )
        assert clean.values["right"].tolist() == right
        assert "map_kendall" not in clean.values
    text = (tmp_path / "out" / "reproduction.md").read_text(encoding="utf-8")
    assert "| classifier | input | size | none | moved |" in text
    assert "(0.735)" not in text
    assert "(0.785)" in text
    assert "Robust training leaves more accuracy under PGD at 8/255." in text
    # A second start needs --resume, and then keeps the numbers of other defenses.
    refused = command("reproduce", *given, *out)
    assert refused.code != 0
    assert "give --resume to add to it" in " ".join(refused.err.split())
    # So does the name of a classifier that ships.
    monkeypatch.setattr("underfire.campaigns.reproduce.defending.DEFENDED", {"other": "digits-resnet"})
    for module in ("campaigns.reproduce.defending", "cli.reproducing"):
        monkeypatch.setattr(f"underfire.{module}.weights_file", lambda name: weights if name == "other" else Path(name))
    assert command("reproduce", *ROBUST, "--steps", "1,2", "--defended", "other", *out, "--resume").code == 0
    found = read_findings(tmp_path / "out" / "findings.parquet")
    assert {each.defense for each in found} == {"none", "moved", "other"}
    assert len(found) == 3 * 2 * 7
    # Numbers under other attacks do not stand beside these: claims compare them image by image.
    longer = command("reproduce", *ROBUST, "--steps", "1,3", "--defended", "other", *out, "--resume")
    assert longer.code == 2
    assert "were measured otherwise" in " ".join(longer.err.split())
    assert len(read_findings(tmp_path / "out" / "findings.parquet")) == 3 * 2 * 7
    planned = command("reproduce", *given, "--out", tmp_path / "planned", "--dry-run")
    assert planned.code == 2
    assert "make no runs" in " ".join(planned.err.split())


def test_what_is_measured_is_kept_and_not_measured_twice(
    command: Command, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that is stopped in the fifth measurement keeps four, and the next one makes the rest."""
    given = (*ROBUST, "--steps", "1,2", "--defended", str(weights))
    assert command("reproduce", *given, "--out", str(tmp_path / "whole")).code == 0
    calls, real = list[float](), defending.robustness

    def counted(*values: Any, **named: Any) -> Any:
        calls.append(values[5])
        if len(calls) == 5:
            raise KeyboardInterrupt
        return real(*values, **named)

    monkeypatch.setattr(defending, "robustness", counted)
    out = tmp_path / "out"
    assert command("reproduce", *given, "--out", str(out)).code == 130
    kept = sorted((out / "measured").glob("*.parquet"))
    assert len(kept) == 4
    kept[0].write_bytes(b"damaged")
    assert command("reproduce", *given, "--out", str(out), "--resume").code == 0
    assert len(calls) == 5 + 28 - 3
    found, wanted = (read_findings(place / "findings.parquet") for place in (out, tmp_path / "whole"))
    assert [(each.defense, each.attack, each.perturbation) for each in found] == [
        (each.defense, each.attack, each.perturbation) for each in wanted
    ]
    assert all(np.array_equal(one.values["right"], two.values["right"]) for one, two in zip(found, wanted, strict=True))
    # Other weights of the same name are measured anew, and the classifier without a defense is not.
    classifier = uf.classifiers.load("digits-resnet", weights=str(weights))
    for value in classifier.module.parameters():
        value.data *= 1.01
    write_weights(classifier.module, weights, "moved again")
    assert command("reproduce", *given, "--out", str(out), "--resume").code == 0
    assert len(calls) == 5 + 28 - 3 + 14


def test_two_defenses_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / LABELS).write_text(labelled(tmp_path, {"rts:a/aid": "aid"})[LABELS])
    assert labelled(tmp_path, {"rts:b/new": "new"}) == {LABELS: '{\n  "rts:a/aid": "aid",\n  "rts:b/new": "new"\n}\n'}
    check_labels(tmp_path, {"rts:a/aid": "aid", "rts:b/other": "other"})
    with pytest.raises(StoreError, match="would call 'rts:b/aid' so, too"):
        check_labels(tmp_path, {"rts:b/aid": "aid"})
    for damaged in ("{", "[1]"):
        (tmp_path / LABELS).write_text(damaged)
        with pytest.raises(StoreError, match=r"defenses\.json is damaged .*delete it"):
            check_labels(tmp_path, {})


def test_the_plain_masker_is_not_the_defended_one() -> None:
    choice = Choice(["net"], ["rts:d/aid", "rts"], {}, defended=["rts:d/aid", "rts:rts-aid-cifar10-resnet20"])
    assert choice.plain == ["rts"]
    assert choice.labels == {"rts:d/aid": "aid", "rts:rts-aid-cifar10-resnet20": "rts-aid-cifar10-resnet20"}


def test_a_file_of_attack_settings_is_taken(command: Command, tmp_path: Path) -> None:
    """``attack --dump-config`` writes an empty list of detectors."""
    file = tmp_path / "run.toml"
    for listed, code in (("[]", 0), ('["runs/lid"]', 2)):
        file.write_text(f"seed = 3\ndetectors = {listed}\n")
        words = ("reproduce", "adv2", "table3", *AID, "--config", file, "--out", tmp_path / "out", "--dump-campaign")
        ended = command(*words)
        assert ended.code == code, ended.err
        assert ("seed = 3" in ended.out) == (code == 0)


def test_claims_on_defenses_are_judged_against_the_row_without_one() -> None:
    edge = paper("advedge")
    claim = next(each for each in edge.claims if each.name == "robust accuracy")
    findings = [
        made("pgd", "cam", {"right": values}, perturbation=size, defense=defense)
        for defense, size, values in (
            ("mine", "8/255", [1.0] * 30),
            ("none", "8/255", [0.0] * 30),
            ("none", "4/255", [1.0] * 30),
            ("", "8/255", [1.0] * 30),
        )
    ]
    (case,) = judge(edge, claim, findings).cases
    assert (case.first, case.second, case.verdict) == (1.0, 0.0, "holds")
    assert case.keys["defense"] == "mine"
    item = edge.chosen(["table7"])[0]
    assert arrange(item, shown(edge, item, findings)).columns == [("none",), ("mine",)]
    assert not shown(edge, edge.chosen(["table1"])[0], findings[:3])
