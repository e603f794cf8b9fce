"""``transfer``: saved images read again, by the run's own parts bit for bit, and by other ones as by hand."""

from __future__ import annotations

import csv
import itertools
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import underfire as uf
from tests.runs.conftest import small_config
from tests.runs.runs import Written, content, read_png, without_seconds
from underfire import randomness
from underfire.attacks.perturbations import PGD
from underfire.runs import Run, run_attack, work
from underfire.runs.saved_images import SavedImages

COSTS = ("steps", "forwards", "backwards", "seconds")


def assert_same_readings(source: Run, again: Run) -> None:
    """Every cell, measure, map and limit is that of the source; only the costs of the attack are not there."""
    assert again.image_ids == source.image_ids
    assert list(again.cells) == list(source.cells)
    for label, cell in source.cells.items():
        assert again.cells[label].about == (cell.about if cell.kind == "attack" else ())
        for name in cell.read_by:
            for measure in (*(each.name for each in source.measures), "joint_success", "joint_success_own_limit"):
                if measure not in COSTS:
                    one, other = (np.asarray(run.column(label, name, measure), float) for run in (source, again))
                    assert np.array_equal(one, other, equal_nan=True), (label, name, measure)
            for image_id in source.image_ids:
                assert np.array_equal(source.map(label, name, image_id), again.map(label, name, image_id))
                one, other = (run.row(label, name, image_id) for run in (source, again))
                assert np.array_equal(source.image(one), again.image(other))
                assert [one[key] for key in ("target", "perturbation", "shaping", "eps", "attacked_interpreters")] == [
                    other[key] for key in ("target", "perturbation", "shaping", "eps", "attacked_interpreters")
                ]
    for one, other in zip(source.comparisons, again.comparisons, strict=True):
        for name in one.interpreters:
            assert one.limits[name].values.tolist() == other.limits[name].values.tolist()
            assert one.limits[name].own.tolist() == other.limits[name].own.tolist()
            assert one.intervals.chance[name] == other.intervals.chance[name]
            assert one.intervals.joint(one.outcome("attack", [name])) == other.intervals.joint(
                other.outcome("attack", [name])
            )


def test_the_runs_own_parts_read_what_the_run_read(full: Written) -> None:
    run = Run(full.folder)
    again = uf.transfer(run).run()
    assert_same_readings(run, again)
    summary, expected = again.summary(), run.summary()
    for key in ("joint_success", "joint_success_all", "joint_success_gap", "chance", "joint_success_threshold"):
        assert summary[key] == expected[key]


@pytest.mark.parametrize(
    "changes",
    [
        {"target_map": "patch"},
        {"targeted": False},
        {"eps": "0.1,0.2", "each": True, "interpreters": ("cam", "grad")},
        {"perturbation": "cw", "readers": ("smoothgrad",)},
    ],
    ids=["patch", "untargeted", "each and several eps", "cw"],
)
def test_so_it_is_for_other_kinds_of_attacks(tmp_path: Path, digits_table: Path, changes: dict[str, Any]) -> None:
    config = small_config(**({"data": str(digits_table), "count": 6, "steps": (2, 4)} | changes))
    run_attack(config, tmp_path / "run", batch_size=4)
    run = Run(tmp_path / "run")
    if not config.each:
        assert_same_readings(run, uf.transfer(run, batch_size=5).run())
        return
    rows = {(row["cell"], row["interpreter"]): row for row in uf.transfer(run).rows() if row["kind"] == "attack"}
    labels = [f"adv2-{name}-eps{eps}" for name in ("cam", "grad") for eps in ("0.1", "0.2")]
    assert set(rows) == set(itertools.product(labels, ("cam", "grad")))
    for part in run.comparisons:
        (name,) = part.interpreters
        row = rows[part.cell.label, name]
        assert row["joint_success"] == part.intervals.joint(part.outcome("attack", [name])).to_dict()
        assert row["map_l1"]["mean"] == float(np.mean(part.column("attack", name, "map_l1")))
        assert (row["attacked_interpreters"], row["eps"]) == (name, part.cell.eps)


def other_classifier(name: str = "other", size: int | None = None) -> uf.Classifier:
    """A digits classifier with other weights, and perhaps for larger images, which it shrinks itself."""
    known = uf.classifiers.load("digits-resnet")
    torch.manual_seed(5)
    with torch.no_grad():
        for weight in known.module.parameters():
            weight.add_(0.3 * weight.std() * torch.randn_like(weight) if weight.numel() > 1 else 0)
    network = known.module if size is None else nn.Sequential(nn.AvgPool2d(size // 16), known.module)
    names = known.class_names
    return uf.Classifier(
        network,
        mean=known.mean,
        std=known.std,
        image_size=size or known.image_size,
        channels=1,
        class_names=names,
        name=name,
    )


def slow_limit(noise: np.ndarray, maps: np.ndarray) -> float:
    """The limit of "kept" from the definition: 95 % of the noise, at most 5 % of other maps, and of the average."""
    count = len(maps)
    pairs = sorted(float(np.abs(maps[i] - maps[j]).mean()) for i in range(count) for j in range(count) if i != j)
    averages = sorted(float(np.abs(maps[i] - np.delete(maps, i, 0).mean(0)).mean()) for i in range(count))
    return min(
        float(np.quantile(noise, 0.95)), pairs[int(0.05 * len(pairs) + 1e-6)], averages[int(0.05 * count + 1e-6)]
    )


def test_another_classifier_reads_as_by_hand(full: Written) -> None:
    """A slow replica, from the saved files alone."""
    run, classifier = Run(full.folder), other_classifier()
    found = uf.transfer(run, classifier, ["grad", "gradcam"])
    clean = {row["image_id"]: row for row in full.of_cell("clean") if row["correct_before"]}
    images = {name: read_png(full.folder / row["image_file"]) for name, row in clean.items()}
    right = [name for name in images if classifier.logits(images[name]).argmax(1).item() == clean[name]["label"]]
    assert 2 < len(right) < len(images), "or the test would show little"
    labels = torch.tensor([clean[name]["label"] for name in right])
    ids = randomness.identities(torch.empty(len(right)), right)
    before = torch.cat([images[name] for name in right])
    matrix = found.matrix("map_l1")
    assert list(matrix) == ["adv2", "bim", "noise"]
    for name in ("grad", "gradcam"):
        interpreter = uf.interpreters.create(name)
        benign = interpreter.maps(classifier, before, labels, ids=ids).double().numpy()
        distances = []
        for draw in range(5):
            noisy = PGD(0.2).noise(before, ids, seed=3, draw=draw)
            maps = interpreter.maps(classifier, noisy, labels, ids=ids).double().numpy()
            distances.append(np.abs(maps - benign).mean((1, 2)).astype(np.float32))
        limit = slow_limit(np.stack(distances), benign)
        assert matrix["noise"][name]["mean"] == pytest.approx(float(distances[0].mean()), abs=1e-7)
        for label in ("adv2", "bim"):
            rows = {row["image_id"]: row for row in full.of_cell(label)}
            after = torch.cat([read_png(full.folder / rows[each]["image_file"]) for each in right])
            target = torch.tensor([rows[each]["target"] for each in right])
            logits = classifier.logits(after)
            maps = interpreter.maps(classifier, after, target, ids=ids).double().numpy()
            distance, reached = np.abs(maps - benign).mean((1, 2)), (logits.argmax(1) == target).numpy()
            row = next(r for r in found.rows() if (r["cell"], r["interpreter"]) == (label, name))
            assert (row["n"], row["considered"]) == (len(right), 13)
            assert row["limit"] == pytest.approx(limit, abs=1e-7)
            assert row["map_l1"]["mean"] == pytest.approx(float(distance.mean()), abs=1e-7)
            assert row["success"]["mean"] == float(reached.mean())
            assert row["untargeted_success"]["mean"] == float((logits.argmax(1) != labels).float().mean())
            assert row["joint_success"]["mean"] == float((reached & (distance < limit)).mean())
            assert row["source_success"]["mean"] == float(np.mean([rows[each]["success"] for each in right]))
            assert matrix[label][name] == row["map_l1"]


def test_other_sizes_are_resized_by_the_classifiers_own_preparation(full: Written) -> None:
    run, larger = Run(full.folder), other_classifier("larger", 32)
    again = uf.transfer(run, larger, "grad").run()
    for image_id in again.image_ids:
        saved = Image.open(full.folder / run.row("adv2", "cam", image_id)["image_file"])
        by_hand = np.asarray(saved.resize((32, 32), Image.Resampling.BICUBIC))
        assert np.array_equal(again.image(again.row("adv2", "grad", image_id)), by_hand)
    assert again.record["preparation"]["image_size"] == [32, 32]


def test_images_that_have_the_size_are_not_cropped_again(full: Written) -> None:
    """As they come out of the attack: a resize before the crop has had its turn."""
    data = SavedImages(Run(full.folder), "adv2")
    pixels = data.load((16, 16), 1, [0], uf.data.Resizing(20)).images
    assert torch.equal(pixels, data.load((16, 16), 1, [0]).images)
    assert data.load((15, 15), 1, [0], uf.data.Resizing(20)).images.shape[2:] == (15, 15)


def test_a_resumed_transfer_says_the_same(full: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, classifier = Run(full.folder), other_classifier()
    settings = {"classifier": ["digits-resnet", classifier], "interpreters": ["cam", "grad"], "batch_size": 4}
    whole = uf.transfer(run, folder=tmp_path / "whole", **settings)
    calls, attack_shard = itertools.count(), work.attack_shard

    def fails(*given: Any) -> None:
        if next(calls) == 5:
            raise KeyboardInterrupt
        attack_shard(*given)

    monkeypatch.setattr(work, "attack_shard", fails)
    with pytest.raises(KeyboardInterrupt):
        uf.transfer(run, folder=tmp_path / "parts", **settings)
    with pytest.raises(uf.errors.StoreError, match="not empty"):
        uf.transfer(run, folder=tmp_path / "parts", **settings)
    again = uf.transfer(run, folder=tmp_path / "parts", resume=True, **settings)
    assert again.rows() == whole.rows()
    for name in whole.classifiers:
        one, other = Written(tmp_path / "whole" / name), Written(tmp_path / "parts" / name)
        assert without_seconds(one.rows) == without_seconds(other.rows)
    before = content(tmp_path / "parts")
    assert uf.transfer(run, folder=tmp_path / "parts", resume=True, **settings).rows() == whole.rows()
    assert content(tmp_path / "parts") == before
    lost = next((tmp_path / "parts" / "digits-resnet" / "images" / "adv2").iterdir())
    lost.unlink()
    with pytest.warns(uf.errors.UnderfireWarning, match=f"was damaged: images/adv2/{lost.name} is missing"):
        assert uf.transfer(run, folder=tmp_path / "parts", resume=True, **settings).rows() == whole.rows()
    assert lost.read_bytes() == before[lost.relative_to(tmp_path / "parts").as_posix()]
    with pytest.raises(uf.errors.StoreError, match="holds another run"):
        uf.transfer(run, folder=tmp_path / "parts", resume=True, **(settings | {"interpreters": "cam"}))


def test_results_as_values_and_as_a_table(full: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pandas: with a module that makes a list of its input."""
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=list))  # type: ignore[arg-type]
    found = uf.transfer(full.folder, ["digits-resnet", other_classifier()], "cam", tmp_path / "out")
    assert found.classifiers == ["digits-resnet", "other"]
    assert repr(found) == f"Transfer of {full.folder} to digits-resnet, other"
    table = list(csv.DictReader((tmp_path / "out" / "transfer.csv").open()))
    frame = found.to_pandas()
    assert len(table) == len(frame) == len(found.rows()) == 6
    for row, written, framed in zip(found.rows(), table, frame, strict=True):
        assert float(written["map_l1_high"]) == framed["map_l1_high"] == row["map_l1"]["high"]
        assert written["classifier"] == framed["classifier"] == row["classifier"]
    json.dumps(found.rows(), allow_nan=False)
    with pytest.raises(uf.errors.InputError, match="classifier is None; the transfer has digits-resnet, other"):
        found.matrix()
    with pytest.raises(uf.errors.InputError, match="measure is 'l1'; expected one of success, "):
        found.matrix("l1", "other")
