"""Runs toward the map of a class, or the map in a file: which maps are wanted, and what is refused beforehand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import underfire as uf
from tests.runs.conftest import small_config
from tests.runs.runs import MISLABELLED, Written, assert_same_run, without_seconds, write_digits
from underfire.data import Digits
from underfire.errors import InputError, StoreError
from underfire.runs import Run as Reader
from underfire.runs import run_attack, work

Run = Callable[..., Written]
FEW = [9, 10, 11, 15, 16, 17, 35, MISLABELLED]  # of classes 0, 2, 3; and the only one of class 9 is an 8


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def start(batch_size: int | None = None, **changes: Any) -> Written:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        run_attack(small_config(**({"target_map": "class"} | changes)), folder, batch_size=batch_size)
        return Written(folder)

    return start


def targets(written: Written) -> dict[str, int]:
    return {row["image_id"]: row["target"] for row in written.of("adv2")}


def test_maps_come_from_the_whole_data(run: Run) -> None:
    """Also of classes that no image of the run belongs to, and the same maps for fewer images."""
    more, fewer = run(batch_size=1, count=9, seed=1), run(count=4, seed=1)
    assert set(targets(more).values()) - {row["label"] for row in more.rows}
    assert targets(more) == targets(run(count=9, seed=1, target_map="benign")), "all classes are there"
    kept = {row["image_id"] for row in fewer.rows}
    assert [row for row in without_seconds(more.rows) if row["image_id"] in kept] == without_seconds(fewer.rows)


def test_the_wanted_map_is_one_of_the_first_of_its_class(run: Run, tmp_path: Path) -> None:
    """Of the first eight that are classified correctly."""
    table = write_digits(tmp_path / "some", range(40))
    data, classifier = uf.data.open_data(table), uf.classifiers.load("digits-resnet")
    places = [index for index in range(len(data)) if data.record(index).label == 9][:9]
    assert MISLABELLED in places
    batch = data.load(classifier.image_size, classifier.channels, places, classifier.resizing)
    right = torch.tensor([place != MISLABELLED for place in places])
    examples = uf.interpreters.create("cam").maps(classifier, batch.images[right], batch.labels[right])
    written = run(data=str(table), target_class="9", count=None)
    drawn = set()
    for row in written.of("adv2"):
        distances = (written.maps[f"adv2/cam/{row['image_id']}"] - examples).abs().mean((1, 2))
        drawn.add(int((distances - row["map_l1_target"]).abs().argmin()))
        assert float((distances - row["map_l1_target"]).abs().min()) < 1e-6
    assert max(drawn) == 7
    assert len(drawn) > 4


@pytest.mark.parametrize(("rule", "steps"), [("class", (5, 25)), ("patch", (5, 40))])
def test_joint_success_is_half_of_the_way_from_the_benign_map(run: Run, rule: str, steps: tuple[int, int]) -> None:
    """And the summary's limit is the mean of each image's own."""
    written = run(count=8, steps=steps, target_map=rule)
    way = {row["image_id"]: row["map_l1_target"] for row in written.of("clean")}
    assert all(row["map_l1"] == 0 for row in written.of("clean"))
    found, nearer = [], []
    for row in written.of("adv2"):
        nearer.append(row["map_l1_target"] < way[row["image_id"]])
        found.append(row["joint_success"])
        assert found[-1] == (row["success"] and row["map_l1_target"] < 0.5 * way[row["image_id"]])
    assert 0 < sum(found) < sum(nearer)
    for row in written.of("bim"):  # the control is measured by the same map, which it did not look at
        assert row["joint_success"] == (row["success"] and row["map_l1_target"] < 0.5 * way[row["image_id"]])
    assert not any(row["map_l1_target"] == pytest.approx(row["map_l1"], abs=1e-4) for row in written.of("bim"))
    begun = {row["attack"]: row["map_l1"] for row in written.trace if row["step"] == 0 and row["image_id"] in way}
    assert begun["bim"] == pytest.approx(begun["adv2"], abs=1e-4), "both begin as far from it"
    limit = written.summary["joint_success_threshold"]["cam"]["map_l1_below"]
    assert limit == pytest.approx(0.5 * sum(way.values()) / len(way))


@pytest.mark.parametrize("rule", ["class", "patch", "file", "benign"])
def test_the_wanted_map_is_kept(run: Run, tmp_path: Path, rule: str) -> None:
    """In every shard of the attack, next to the maps; distances in the table are those to it."""
    np.save(tmp_path / "map.npy", np.eye(4))
    file = str(tmp_path / "map.npy")
    written = run(count=4, batch_size=2, target_map=file if rule == "file" else rule)
    kept = {key for key in written.maps if key.startswith("wanted/")}
    reader = Reader(written.folder)
    if rule == "benign":
        assert not kept
        assert reader.wanted("adv2", "cam", written.of("adv2")[0]["image_id"]) is None
        return
    rows = written.of("adv2") + written.of("bim") + written.of("clean")
    assert kept == {f"wanted/cam/{row['image_id']}" for row in rows}
    for row in rows:
        wanted = written.maps[f"wanted/cam/{row['image_id']}"]
        shown = written.maps[f"{row['attack']}/cam/{row['image_id']}"]
        assert row["map_l1_target"] == pytest.approx(float((wanted - shown).abs().mean()), abs=1e-6)
        if rule == "file":
            assert torch.equal(wanted, torch.eye(4))
        read = reader.wanted("adv2", "cam", row["image_id"])
        assert read is not None
        assert (read == wanted.numpy()).all()


def test_every_interpreter_has_its_own_wanted_map(run: Run) -> None:
    """Readers too, which are measured by it."""
    written = run(count=3, target_map="patch", interpreters=("grad", "cam"), readers=("gradcam",))
    for name in ("grad", "cam", "gradcam"):
        for row in written.of("adv2", name) + written.of("noise", name):
            wanted = written.maps[f"wanted/{name}/{row['image_id']}"]
            shown = written.maps[f"{row['attack']}/{name}/{row['image_id']}"]
            assert row["map_l1_target"] == pytest.approx(float((wanted - shown).abs().mean()), abs=1e-6)


@pytest.mark.parametrize("baseline", [None, "torchattacks:PGD"])
def test_controls_are_measured_by_the_wanted_map(run: Run, tmp_path: Path, baseline: str | None) -> None:
    if baseline is not None:
        pytest.importorskip("torchattacks")
    wanted = torch.zeros(4, 4)
    wanted[1:3, 2] = 1
    np.save(tmp_path / "map.npy", wanted.numpy())
    written = run(target_map=str(tmp_path / "map.npy"), count=4, steps=(2, 6), baseline=baseline)
    for attack in (baseline or "bim").lower().replace(":", "-"), "adv2", "noise", "clean":
        for row in written.of(attack):
            found = written.maps[f"{attack}/cam/{row['image_id']}"]
            assert row["map_l1_target"] == pytest.approx(float((found - wanted).abs().mean()), abs=1e-5)


def test_only_wanted_classes_are_looked_through(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    original, read = Digits.read, list[int]()

    def watched(self: Digits, index: int) -> Any:
        read.append(index)
        return original(self, index)

    monkeypatch.setattr(Digits, "read", watched)
    run(target_class="7", count=3)
    data = Digits("test")
    sevens = [index for index in range(len(data)) if data.record(index).label == 7]
    assert {index for index in read if index >= 8} == set(sevens[:8]) - set(range(8))


def test_targets_are_classes_that_have_maps(run: Run, tmp_path: Path) -> None:
    """Of the ten classes the data have four, and of one no image is classified correctly."""
    table = write_digits(tmp_path / "few", FEW)
    written = run(data=str(table), count=None, seed=2)
    assert set(targets(written).values()) == {0, 2, 3}
    assert targets(run(data=str(table), count=2, seed=2)).items() <= targets(written).items()
    attacks = set(written.run["attacks"])
    assert all(targets(written) == {row["image_id"]: row["target"] for row in written.of(name)} for name in attacks)


def test_the_least_likely_class_has_a_map(run: Run) -> None:
    written = run(target_class="least-likely", count=6)
    assert targets(written) == targets(run(target_class="least-likely", count=6, target_map="benign"))


@pytest.mark.parametrize(("target", "there"), [("7", "0, 2, 3, 9"), ("9", "0, 2, 3")])
def test_a_class_without_maps_is_refused_beforehand(run: Run, tmp_path: Path, target: str, there: str) -> None:
    table = write_digits(tmp_path / "few", FEW)
    before = sorted(tmp_path.iterdir())
    expected = rf"target_map is 'class'.*no correctly classified image of class {target}.*images of class {there}\."
    with pytest.raises(InputError, match=expected):
        run(data=str(table), target_class=target, count=None, batch_size=1)
    assert sorted(tmp_path.iterdir()) == before, "nothing was begun"


def test_data_of_one_class_have_no_other_map(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"correctly classified images of class 9 alone.*another --target-map"):
        run(data=str(write_digits(tmp_path / "nines", [1, 3, MISLABELLED])), count=None)


def test_a_resumed_run_has_the_same_pool(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits_table: Path
) -> None:
    config = small_config(data=str(digits_table), target_map="class", count=None)
    with monkeypatch.context() as patch:
        original = work.attack_shard

        def failing(plan: Any, index: int, positions: list[int], *rest: Any) -> Any:
            if 0 not in positions:
                raise KeyboardInterrupt
            return original(plan, index, positions, *rest)

        patch.setattr("underfire.runs.work.attack_shard", failing)
        with pytest.raises(KeyboardInterrupt):
            run_attack(config, tmp_path / "resumed", batch_size=5)
    run_attack(config, tmp_path / "resumed", resume=True, batch_size=3)
    run_attack(config, tmp_path / "whole")
    assert_same_run(Written(tmp_path / "resumed"), Written(tmp_path / "whole"))


def test_an_untargeted_run_has_no_map_of_a_class() -> None:
    with pytest.raises(InputError, match=r"target_map is 'class'.*untargeted"):
        small_config(target_map="class", targeted=False)


def test_a_pool_is_read_in_batches(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    whole = run(count=3, seed=5)
    monkeypatch.setattr("underfire.runs.map_pool.suited_size", lambda *_: 3)
    parts = run(count=3, seed=5)
    assert_same_run(whole, parts)
    assert torch.equal(whole.images(whole.of("adv2")), parts.images(parts.of("adv2")))


def test_another_map_in_the_file_is_another_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "map.npy"
    np.save(file, np.eye(8))
    config = small_config(target_map=str(file))
    with monkeypatch.context() as patch:
        patch.setattr("underfire.runs.work.write_results", lambda *_: exit())
        with pytest.raises(SystemExit):
            run_attack(config, tmp_path / "run")
    np.save(file, np.eye(8)[::-1])
    with pytest.raises(StoreError, match=r"another run: attacks\.bim\.target_map\.sha256 was"):
        run_attack(config, tmp_path / "run", resume=True)
    np.save(file, np.eye(8))
    assert run_attack(config, tmp_path / "run", resume=True)["target_map"] == "other"


LOOKS = """
from dataclasses import dataclass
from typing import ClassVar

import torch

from underfire.attacks import ClassRule


@dataclass(frozen=True)
class Looks(ClassRule):
    name: ClassVar[str] = "looks"

    def classes(self, view, benign, seed):
        device = next(view.prepared.parameters()).device
        assert list(benign.maps) == ["cam", "grad"] and benign.readers == ("grad",)
        every = (benign.images, benign.labels, benign.ids, benign.logits, *benign.maps.values())
        assert {part.device for part in every} == {device} and {len(part) for part in every} == {len(benign.ids)}
        ranked = view.logits(benign.images).detach().argsort(1, descending=True)
        peaks = benign.maps["cam"].flatten(1).argmax(1)
        own = torch.where(peaks % 2 == 0, ranked[:, 1], ranked[:, 2])
        return torch.where(own == benign.labels, ranked[:, 0], own)


@dataclass(frozen=True)
class Blind(Looks):
    needs_maps: ClassVar[bool] = False

    def classes(self, view, benign, seed):
        return super().classes(view, benign, seed) if benign.maps else (benign.labels + 1) % 10
"""


@pytest.mark.parametrize("name", ["Looks", "Blind"])
def test_a_rule_that_looks_at_maps_plans_the_pool_from_them(run: Run, tmp_path: Path, name: str) -> None:
    """Regression: it was given images on the CPU, and no maps, when the pool was planned."""
    (tmp_path / "looks.py").write_text(LOOKS)
    settings: dict[str, Any] = {"target_class": f"{tmp_path / 'looks.py'}:{name}", "readers": ("grad",), "count": 4}
    if name == "Blind":  # it answers otherwise without maps
        with pytest.raises(InputError, match="the pool of maps has no correctly classified image of class"):
            run(**settings)
        return
    pooled, benign = run(**settings), run(**settings, target_map="benign")
    assert targets(pooled) == targets(benign)
