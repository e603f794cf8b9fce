"""What the papers' files say must fit together, and the published numbers must be those of the papers."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from torch import nn

from underfire.campaigns.file import read_grid, write_grid
from underfire.campaigns.reproduce.findings import QUANTITIES, Finding
from underfire.campaigns.reproduce.grids import Choice, grid_of
from underfire.campaigns.reproduce.judging import TESTS, _is_first
from underfire.campaigns.reproduce.papers import (
    DEFENSES,
    KEYS,
    NO_DEFENSE,
    PREDICTION_ONLY,
    TRAINED,
    paper,
    paper_names,
)
from underfire.campaigns.reproduce.published import family, lookup, published
from underfire.checkpoints import write_weights
from underfire.defenses.robust import RobustRecipe
from underfire.errors import InputError

REFERENCE = Path(__file__).parents[4] / "shared" / "reference"
NAMES = {"pgd": PREDICTION_ONLY, "adv2": "adv2", "advedge": "advedge", "advedge_plus": "advedge+"}


@pytest.mark.parametrize("name", paper_names())
def test_every_item_and_claim_can_be_made(name: str) -> None:
    about = paper(name)
    items = {item.name: item for item in about.items}
    assert len(items) == len(about.items)
    assert not set(items) & set(about.elsewhere)
    for item in about.items:
        assert set(item.runs) <= set(about.runs)
        assert set(item.measures) <= set(QUANTITIES)
        assert {*item.rows, *item.columns} <= set(KEYS)
        known = {attack for each in item.runs for attack in about.runs[each].attack}
        assert set(item.attacks) <= known
        assert bool(item.measures) == (item.kind in ("numbers", "transfer", "detection", "defense"))
        assert bool(item.inputs) == (item.kind == "defense")
        assert bool(item.runs or item.inputs)
        assert not item.inputs or item.defense in DEFENSES
        assert bool(item.detectors) == (item.kind == "detection")
    for claim in about.claims:
        assert claim.measure in QUANTITIES
        assert claim.test in TESTS
        known = {attack for each in items[claim.item].runs for attack in about.runs[each].attack}
        sizes = items[claim.item].sizes
        for side in (claim.first, claim.second or {}):
            assert side.get("attack", PREDICTION_ONLY) in {*known, *items[claim.item].inputs, PREDICTION_ONLY}
            assert side.get("defense", TRAINED) in (TRAINED, NO_DEFENSE)
            assert "perturbation" not in side or not items[claim.item].inputs or side["perturbation"] in sizes
            assert set(side) <= set(KEYS)
    for number in published(name):
        assert number.item in items
        assert number.measure in items[number.item].measures


@pytest.mark.parametrize("name", paper_names())
def test_the_runs_of_a_paper_are_a_campaign_file(name: str, tmp_path: Path) -> None:
    about = paper(name)
    choice = Choice(
        ["scenes-resnet", "scenes-densenet"],
        ["cam", "mask"],
        settings={"data": "scenes:test", "seed": 3},
        steps=(2, 4),
        budget=6,
        eps=8 / 255,
        counts={"": 9, "mask": 2},
    )
    grid = grid_of(about, about.chosen(), choice)
    points = grid.points()
    groups = {name for item in about.items for name in item.runs}
    runs = sum(
        len(group.attack) * len(group.perturbation) * len(group.target_map)
        for group in map(about.runs.__getitem__, groups)
        if not group.interpreter
    )
    assert len(points) == 2 * 2 * runs
    for point in points:
        config = point.config
        assert config.seed == 3
        assert config.count == (2 if config.interpreters == ("mask",) else 9)
        assert (config.steps, config.budget) == (
            (None, 6) if config.attack in ("auto", "adaptive-auto") else ((2, 4), None)
        )
        assert config.eps == ((8 / 255,) if config.perturbation == "pgd" else None)
    file = tmp_path / "campaign.toml"
    file.write_text(write_grid(grid), encoding="utf-8")
    again = read_grid(file).points()
    assert [(point.name, point.config) for point in again] == [(point.name, point.config) for point in points]


def test_only_the_runs_of_the_chosen_items() -> None:
    about = paper("adv2")
    points = grid_of(about, about.chosen(["table6"]), Choice(["a"], ["cam"], settings={"data": "d"})).points()
    assert [point.config.target_map for point in points] == ["patch", "patch"]
    assert [item.name for item in about.chosen(["table9", "table3"])] == ["table3", "table9"]


def test_names_that_are_not_there() -> None:
    about = paper("adv2")
    with pytest.raises(InputError, match=r"unknown item 'tabel3'\. Did you mean 'table3'"):
        about.chosen(["tabel3"])
    with pytest.raises(InputError, match="figure13 of adv2 is not made: what it shows"):
        about.chosen(["figure13"])
    with pytest.raises(InputError, match="unknown paper 'adv1'"):
        paper("adv1")
    with pytest.raises(InputError, match="classifier is empty"):
        grid_of(about, about.chosen(), Choice([], ["cam"]))
    with pytest.raises(InputError, match="count is given for 'mask', which is not among the interpreters cam"):
        grid_of(about, about.chosen(), Choice(["a"], ["cam"], counts={"mask": 3}))


def _rows(name: str) -> list[dict[str, str]]:
    path = REFERENCE / f"{name}.csv"
    if not path.exists():
        pytest.skip("the papers' tables (shared/reference) are not here")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize(
    ("table", "item", "column", "measure"),
    [
        ("advedge_table1_success_rate", "table1", "success_rate", "success"),
        ("advedge_table2_confidence", "table2", "confidence", "confidence"),
        ("advedge_table3_time", "table3", "seconds_per_image", "seconds"),
    ],
)
def test_the_numbers_of_advedge_are_those_of_its_tables(table: str, item: str, column: str, measure: str) -> None:
    rows = _rows(table)
    for row in rows:
        keys = {
            "classifier": f"my-{row['classifier']}",
            "perturbation": row["framework"],
            "attack": NAMES[row["attack"]],
            "interpreter": row["interpreter"],
            "reader": row["interpreter"],
        }
        assert lookup("advedge", item, measure, keys) == float(row[column])
    assert len(rows) == sum(number.item == item for number in published("advedge"))


def test_the_numbers_of_transfer_are_those_of_the_tables() -> None:
    for row in _rows("advedge_table4_transfer_l1"):
        keys = {
            "classifier": row["classifier"],
            "perturbation": row["framework"],
            "attack": NAMES[row["attack"]],
            "interpreter": row["attacked_interpreter"],
            "reader": row["interpreter"],
        }
        assert lookup("advedge", "table4", "map_l1", keys) == float(row["map_l1"])
    for row in _rows("adv2_table9_transfer_l1"):
        for reader in ("grad", "cam", "mask", "rts"):
            control = row["source"] == "pgd"
            keys = {
                "classifier": "resnet50",
                "perturbation": "pgd",
                "attack": PREDICTION_ONLY if control else "adv2",
                "interpreter": "cam" if control else row["source"],
                "reader": reader,
            }
            assert lookup("adv2", "table9", "map_l1", keys) == float(row[reader])


def test_the_numbers_on_detectors_are_those_of_the_tables() -> None:
    names = {"2-bit": "bit-depth:2", "3-bit": "bit-depth:3", "3x3": "median:3", "11-3-4": "non-local-means:11-3-4"}
    for row in _rows("adv2_table4_squeezing_detection"):
        for attack, interpreter, column in (
            (PREDICTION_ONLY, "cam", "pgd"),
            *((attack, name, f"{attack}_{name}") for attack in ("adv2", "adaptive") for name in ("mask", "rts")),
        ):
            keys = {"classifier": "resnet", "perturbation": "pgd", "attack": attack, "interpreter": interpreter}
            keys["reader"] = names[row["setting"]]
            assert lookup("adv2", "table4", "detected", keys) == float(row[column])
    for table, item in (("advedge_table5_detector_pairs", "table5"), ("advedge_table6_detector_triples", "table6")):
        for row in _rows(table):
            for column, name in (("accuracy", ""), ("accuracy_2_channels", ""), ("accuracy_3_channels", "+product")):
                if column in row:
                    keys = {"classifier": "densenet", "attack": "advedge", "reader": row["interpreters"] + name}
                    assert lookup("advedge", item, "accuracy", keys) == float(row[column])


def test_the_numbers_of_adv2_are_those_of_its_tables() -> None:
    for table, item in (("adv2_table6_random_patch", "table6"), ("adv2_table8_random_class", "table8")):
        for row in _rows(table):
            keys = {"classifier": "resnet", "perturbation": "pgd", "attack": "adv2", "interpreter": row["interpreter"]}
            assert lookup("adv2", item, "success", keys) == float(row["success_rate"])
            assert lookup("adv2", item, "confidence", keys) == float(row["confidence"])
    for row in _rows("adv2_table3_success_rate"):
        interpreter = "mask" if row["interpreter"] == "any" else row["interpreter"]
        keys = {
            "classifier": row["classifier"],
            "perturbation": "pgd",
            "attack": NAMES[row["attack"]],
            "interpreter": interpreter,
        }
        assert lookup("adv2", "table3", "success", keys) == float(row["success_rate"])
    missing = {"classifier": "densenet", "perturbation": "pgd", "attack": "adv2", "interpreter": "grad"}
    assert lookup("adv2", "table3", "success", missing) is None


def test_the_numbers_on_defenses_are_those_of_the_tables() -> None:
    def found(item: str, size: str, attack: str, measure: str) -> list[float | None]:
        keys = {"classifier": "my-net", "perturbation": size, "attack": attack, "interpreter": "rts", "reader": "rts"}
        paper = "advedge" if item == "table7" else "adv2"
        return [lookup(paper, item, measure, keys | {"defense": each}) for each in (NO_DEFENSE, "my-defense")]

    def told(row: dict[str, str], *columns: str) -> list[float | None]:
        return [float(row[column]) if row[column] else None for column in columns]

    for row in _rows("adv2_figure15_noise_l1"):
        size = f"{100 * float(row['noise_misclassification']):g} %"
        assert found("figure15", size, f"{row['noise']} noise", "map_l1") == told(row, "rts", "rts_aid")
    for row in _rows("adv2_table10_aid_l1"):
        assert found("table10", "", row["input"], "map_l1") == told(row, "rts", "rts_aid")
    for row in _rows("advedge_table7_robust_training"):
        for measure, name in (("right", "accuracy"), ("map_kendall", "kendall_tau")):
            expected = told(row, f"{name}_normal", f"{name}_robust")
            assert found("table7", f"{row['eps_255']}/255", "pgd", measure) == expected


def test_runs_on_defended_maskers_are_those_of_their_groups_alone() -> None:
    about = paper("adv2")
    choice = Choice(
        ["a"], ["cam", "rts"], settings={"data": "d"}, counts={"rts": 3}, defended=["rts:made/aid", "w/x.pt"]
    )
    points = grid_of(about, about.chosen(["table3", "table10", "figure16"]), choice).points()
    attacked = [(point.config.interpreters, point.config.attack, point.config.count) for point in points]
    assert sorted(attacked) == [
        (("cam",), "adv2", None),
        (("cam",), "auto", None),
        (("rts",), "adv2", 3),
        (("rts",), "auto", 3),
        (("rts:made/aid",), "adv2", 3),
    ]
    assert choice.labels == {"rts:made/aid": "aid", "w/x.pt": "w"}
    with pytest.raises(InputError, match="defended is 'rts:a/same', and tables would call it 'same'"):
        _ = Choice(["a"], defended=["rts:a/same", "rts:b/same"]).labels


def test_the_same_training_without_a_defense_is_a_control(tmp_path: Path) -> None:
    """Regression: claims about robust training counted it, and the published robust number stood beside it."""
    module = nn.Linear(2, 2)
    for name, objective in (("plain", "normal"), ("robust", "int-adv"), ("normal", "int-adv")):
        (tmp_path / name).mkdir()
        write_weights(module, tmp_path / name / "x.safetensors", f"mine, {RobustRecipe(objective=objective)}")
    plain, robust, wrong = (str(tmp_path / name / "x.safetensors") for name in ("plain", "robust", "normal"))
    assert Choice(["a"], defended=[plain, robust]).labels == {plain: "normal", robust: "robust"}
    with pytest.raises(InputError, match="tables would call it 'normal'"):
        _ = Choice(["a"], defended=[wrong]).labels
    with pytest.raises(InputError, match=f"defended is '{wrong}'"):
        _ = Choice(["a"], defended=[plain, wrong]).labels
    (tmp_path / "again").mkdir()
    again = str(shutil.copy(plain, tmp_path / "again"))
    with pytest.raises(InputError, match=f"{plain} and {again}, which are all trained without a defense"):
        _ = Choice(["a"], defended=[plain, again]).labels
    keys = {"classifier": "a", "attack": "pgd", "perturbation": "8/255", "interpreter": "cam", "reader": "cam"}
    found = {name: lookup("advedge", "table7", "right", keys | {"defense": name}) for name in ("none", "normal", "x")}
    assert found == {"none": 0.085, "normal": 0.085, "x": 0.28}
    finding = Finding("", "a", "8/255", "pgd", "pgd", "", "cam", "cam", (), {}, {}, "normal")
    wanted = {"defense": "trained", "attack": "pgd", "perturbation": "8/255"}
    assert not _is_first(wanted, finding)
    assert _is_first(wanted, replace(finding, defense="x"))


def test_the_published_classifier_beside_ours() -> None:
    assert [family(name) for name in ("torchvision:DenseNet169", "cifar10-resnet20", "imagenet-lite0")] == [
        "densenet",
        "resnet",
        "resnet",
    ]
