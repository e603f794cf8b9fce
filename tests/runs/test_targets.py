"""Which class an attack wants, which attacks there are, and what the seed changes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import underfire as uf
from benchmarks.grid_tables import Cell, on_one_scale
from tests.runs.conftest import small_config
from tests.runs.runs import Written, write_digits
from underfire.errors import DataError, InputError
from underfire.runs import run_attack

Run = Callable[..., Written]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def start(**changes: Any) -> Written:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        run_attack(small_config(**({"count": 12} | changes)), folder)
        return Written(folder)

    return start


def targets(written: Written, attack: str = "adv2") -> dict[str, int]:
    return {row["image_id"]: row["target"] for row in written.of(attack)}


def test_random_targets(run: Run) -> None:
    written = run()
    chosen = targets(written)
    assert all(row["target"] != row["label"] for row in written.rows)
    assert len(set(chosen.values())) > 3
    assert set(chosen.values()) <= set(range(10))
    for attack in ("clean", "noise", "bim"):
        assert targets(written, attack) == chosen  # what their success is about


def test_the_seed_decides_about_targets_and_noise(run: Run) -> None:
    first, second = run(count=4, seed=1), run(count=4, seed=2)
    assert targets(first) != targets(second)
    assert targets(first) == targets(run(count=4, seed=1))
    assert not torch.equal(first.images(first.of("noise")), second.images(second.of("noise")))
    assert torch.equal(first.images(first.of("clean")), second.images(second.of("clean")))


@pytest.mark.parametrize("perturbation", ["cw", "stadv"])
def test_one_measure_for_all_perturbations(run: Run, perturbation: str) -> None:
    """With ``noise_eps`` maps count as kept below the limit that a PGD run of that eps has."""
    pgd, own = run(count=4, eps=0.1), run(count=4, perturbation=perturbation)
    same = run(count=4, perturbation=perturbation, noise_eps=0.1)
    assert torch.equal(same.images(same.of("noise")), pgd.images(pgd.of("noise")))
    thresholds = [written.summary["joint_success_threshold"]["cam"] for written in (pgd, own, same)]
    assert thresholds[2] == thresholds[0]
    assert thresholds[0]["by_noise"] > thresholds[1]["by_noise"], "0.1 against the default, 0.031"
    limits = [found["map_l1_below"] for found in thresholds]
    for row in same.of("adv2"):
        assert row["joint_success"] == (row["success"] and row["map_l1"] < limits[0])
    tabled = [("pgd-adv2-cam", pgd, "pgd"), (f"{perturbation}-adv2-cam", own, perturbation)]
    cells = [
        Cell(name, written.run["configuration"] | {"perturbation": by}, written.folder) for name, written, by in tabled
    ]
    for cell in on_one_scale(cells)[1:]:
        joint = {row["image_id"]: row["joint_success"] for row in same.of("adv2")}
        assert {image_id: row["joint_success"] for image_id, row in cell.rows["adv2"].items()} == joint
    assert torch.equal(same.images(same.of("adv2")), own.images(own.of("adv2")))


def test_an_image_keeps_its_target_among_others(run: Run, tmp_path: Path) -> None:
    some = run(data=str(write_digits(tmp_path / "some", [3, 8, 5])), count=3)
    more = run(data=str(write_digits(tmp_path / "more", [0, 1, 5, 8, 3, 2])), count=6)
    assert targets(some).items() <= targets(more).items()


def test_the_least_likely_class(run: Run) -> None:
    written = run(target_class="least-likely", count=6)
    logits = uf.classifiers.load("digits-resnet").logits(written.images(written.of("clean")))
    assert list(targets(written).values()) == logits.argmin(1).tolist()


@pytest.mark.parametrize("target", ["9", "3"])
def test_a_class_by_number(run: Run, target: str) -> None:
    """Of the first images of digits:test, with labels 4 9 4 9 4 9 6 9 7 0 2 3, those of the target are left out."""
    written = run(target_class=target, count=8)
    assert set(targets(written).values()) == {int(target)}
    assert len(targets(written)) == 8
    assert all(row["label"] != int(target) for row in written.rows if row["attack"] != "clean")
    skipped = [row for row in written.of("clean") if row["target"] is None]
    assert len(skipped) == {"9": 4, "3": 0}[target]
    assert all(row["label"] == int(target) and not row["success"] for row in skipped)
    assert written.summary["images"]["attacked"] == 8


def test_a_class_by_name(run: Run, tmp_path: Path) -> None:
    model = tmp_path / "model.py"
    model.write_text(
        "import underfire as uf\n"
        "def build():\n"
        "    made = uf.classifiers.load('digits-resnet')\n"
        "    made.class_names = tuple('zero one two three four five six seven eight nine'.split())\n"
        "    return made\n"
    )
    written = run(classifier=f"{model}:build", target_class="seven", count=3)
    assert set(targets(written).values()) == {7}


def test_a_name_that_only_the_data_knows(run: Run, tmp_path: Path) -> None:
    table = write_digits(tmp_path / "named", range(12))
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    lines = table.read_text().splitlines()
    order = sorted({names[int(line[-1])] for line in lines[1:]})
    table.write_text("\n".join([lines[0], *(line[:-1] + names[int(line[-1])] for line in lines[1:])]) + "\n")
    model = tmp_path / "model.py"
    model.write_text(
        "import torch, underfire as uf\n"
        "def build():\n"
        "    made = uf.classifiers.load('digits-resnet')\n"
        f"    order = {[names.index(name) for name in order]}\n"
        "    head = torch.nn.Linear(64, len(order))\n"
        "    with torch.no_grad():\n"
        "        head.weight.copy_(made.module.head.weight[order])\n"
        "        head.bias.copy_(made.module.head.bias[order])\n"
        "    made.module.head = head\n"
        "    return uf.Classifier(made.module, mean=made.mean, std=made.std, image_size=16, channels=1)\n"
    )
    written = run(data=str(table), classifier=f"{model}:build", target_class="seven", count=3)
    assert set(targets(written).values()) == {order.index("seven")}


def test_only_images_of_the_target_class(run: Run, tmp_path: Path) -> None:
    table = write_digits(tmp_path / "nines", [1, 3, 5])
    with pytest.raises(DataError, match="already belongs to the target class"):
        run(data=str(table), target_class="9", count=None)


@pytest.mark.parametrize("attack", ["adv2", "pgd", "bim"])
def test_untargeted(run: Run, attack: str) -> None:
    written = run(targeted=False, attack=attack, count=6, steps=(10, 10))
    assert all(row["target"] is None for row in written.rows)
    assert all(row["success"] == row["untargeted_success"] for row in written.rows)
    classifier = uf.classifiers.load("digits-resnet")
    rows = written.of(attack)
    logits = classifier.logits(written.images(rows))
    labels = torch.tensor([row["label"] for row in rows])
    assert [row["success"] for row in rows] == (logits.argmax(1) != labels).tolist()
    own = logits.softmax(1).gather(1, labels.unsqueeze(1)).squeeze(1)
    assert [row["confidence"] for row in rows] == pytest.approx((1 - own).tolist(), abs=1e-5)
    assert any(row["success"] for row in rows)
    others = logits.scatter(1, labels.unsqueeze(1), -torch.inf).argmax(1)
    maps = uf.interpreters.create("cam").maps(classifier, written.images(rows), others)
    for row, shown in zip(rows, maps, strict=True):
        assert torch.allclose(written.maps[f"{attack}/cam/{row['image_id']}"], shown, atol=1e-5)


@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        ("adv2", ["clean", "bim", "adv2", "noise"]),
        ("pgd", ["clean", "pgd", "noise"]),
        ("bim", ["clean", "pgd", "bim", "noise"]),
    ],
)
def test_every_attack_comes_with_its_controls(run: Run, attack: str, expected: list[str]) -> None:
    written = run(attack=attack, count=2)
    assert list(dict.fromkeys(row["attack"] for row in written.rows)) == expected
    assert set(written.summary["interpreters"]["cam"]["attacks"]) == set(expected)
    assert written.summary["attack"] == attack


def test_pgd_starts_at_random_and_bim_does_not(run: Run) -> None:
    """After two steps of 1/255, BIM has moved no value by more than two levels; PGD began anywhere in the ball."""
    written = run(attack="bim", count=3)
    assert all(row["linf"] <= 2.01 / 255 for row in written.of("bim"))
    assert all(row["linf"] > 0.15 for row in written.of("pgd"))
    assert all(row["linf"] <= 2.01 / 255 for row in run(count=3).of("bim"))  # the control of adv2 starts as it does


def test_the_published_preset_runs_every_step(run: Run) -> None:
    for preset in ("paper", "published"):
        written = run(variant=preset, count=2, steps=(4, 40), eps=0.02)
        assert written.run["configuration"]["variant"] == preset
    assert all(row["steps"] == 44 for row in written.of("adv2"))


def test_a_second_interpreter_changes_the_attack_and_reads_it(run: Run) -> None:
    one, two = run(count=3, steps=(2, 10)), run(count=3, steps=(2, 10), interpreters=("cam", "grad"))
    assert {row["interpreter"] for row in one.rows} == {"cam"}
    assert {row["attacked_interpreters"] for row in two.of("adv2", "grad")} == {"cam+grad"}
    assert {row["attacked_interpreters"] for row in one.of("adv2")} == {"cam"}
    assert not torch.equal(one.images(one.of("adv2")), two.images(two.of("adv2")))
    assert torch.equal(one.images(one.of("noise")), two.images(two.of("noise")))
    shared = ("image_file", "success", "confidence", "linf", "ssim", "forwards")
    for cam, grad in zip(two.of("adv2", "cam"), two.of("adv2", "grad"), strict=True):
        assert [cam[column] for column in shared] == [grad[column] for column in shared]
        assert cam["map_l1"] != grad["map_l1"]


def test_a_patch_as_target_map(run: Run) -> None:
    """The table shows the distance to the map that was wanted, and the limit is each image's own."""
    from rich.console import Console

    from underfire.reports.table import summary_table
    from underfire.runs import Run as Reader

    written = run(target_map="patch", count=3)
    assert written.summary["target_map"] == "other"
    clean = {row["image_id"]: row["map_l1_target"] for row in written.of("clean")}
    for row in written.of("adv2"):
        reached = row["success"] and row["map_l1_target"] < clean[row["image_id"]] / 2
        assert row["joint_success"] == (reached and row["correct_before"])
    console = Console(width=80, record=True)
    console.print(summary_table(Reader(written.folder)))
    text = console.export_text()
    assert "showed the wanted cam map" in " ".join(text.split())
    assert "map to target" in " ".join(text.split())


RULES = """
import torch

from underfire.attacks import ClassRule


class OfView(ClassRule):
    name = "of-view"

    def classes(self, view, benign, seed):
        return (benign.labels + len(view.views)) % 10


class OfMaps(ClassRule):
    name = "of-maps"

    def classes(self, view, benign, seed):
        return (benign.labels + 1 + ("grad" in benign.maps)) % 10


class Dice(ClassRule):
    name = "dice"

    def classes(self, view, benign, seed):
        return (benign.labels + torch.randint(1, 10, benign.labels.shape)) % 10
"""
EACH: dict[str, Any] = {"interpreters": ("cam", "grad"), "each": True}


def test_attacks_on_each_interpreter_have_the_same_classes(run: Run, tmp_path: Path) -> None:
    """Regression: a rule that looked at its view gave each attack others, and the run ended in an AssertionError."""
    (tmp_path / "rules.py").write_text(RULES)
    written = run(target_class=f"{tmp_path / 'rules.py'}:OfView", count=3, **EACH)
    for label in ("adv2-cam", "adv2-grad"):
        assert all(row["target"] == (row["label"] + 2) % 10 for row in written.of_cell(label, label[5:]))


@pytest.mark.parametrize("rule", ["OfMaps", "Dice"])
def test_a_rule_with_two_classes_for_one_image_is_refused(run: Run, tmp_path: Path, rule: str) -> None:
    (tmp_path / "rules.py").write_text(RULES)
    with pytest.raises(InputError, match=r"gives image \d of a batch class \d for one attack and class \d for another"):
        run(target_class=f"{tmp_path / 'rules.py'}:{rule}", count=6, **EACH)
