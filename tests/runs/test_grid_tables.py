"""The tables of ``benchmarks.grid``, which the docs show, again from the rows that runs wrote."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import grid, grid_tables
from tests.runs.conftest import small_config
from tests.runs.runs import Row, Written
from underfire.runs import RunConfig, run_attack

COMMON = {"count": 6, "steps": (10, 30)}
CELLS: dict[str, dict[str, Any]] = {
    "resnet20-pgd-adv2-cam": {"attack": "adv2", "perturbation": "pgd"},
    "resnet20-pgd-advedge-cam": {"attack": "advedge", "perturbation": "pgd", "baseline": "none"},
    "resnet20-cw-adv2-cam": {"attack": "adv2", "perturbation": "cw"},
    "resnet20-pgd-patch-cam": {"attack": "adv2", "target_map": "patch"},
    "resnet20-pgd-threshold0.2-cam": {"attack": "advedge+", "edge_threshold": 0.2},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Written], list[grid_tables.Cell]]:
    out = tmp_path_factory.mktemp("grid")
    written, cells = {}, {}
    for name, settings in CELLS.items():
        ball = {} if settings.get("perturbation") == "cw" else {"eps": 0.4}
        run_attack(small_config(**COMMON, **ball, **settings), out / name)
        written[name], cells[name] = Written(out / name), {"classifier": "digits", "interpreters": ("cam",)} | settings
    return written, grid_tables.finished(cells | {"not begun": {}}, out)


def lines(table: str) -> list[list[str]]:
    return [[part.strip() for part in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def mean(rows: list[Row], column: str) -> float:
    values = [float(row[column]) for row in rows]
    return sum(values) / len(values)


def starts(cell: str, value: float, signed: bool = False) -> bool:
    return cell.startswith(f"{value:+.3f} [" if signed else f"{value:.3f} [")


def test_every_finished_cell_has_its_row_and_its_controls(
    runs: tuple[dict[str, Written], list[grid_tables.Cell]],
) -> None:
    written, cells = runs
    adv2, advedge = written["resnet20-pgd-adv2-cam"], written["resnet20-pgd-advedge-cam"]
    found = [row for row in lines(grid_tables.by_cell(cells)) if row[2] == "pgd"]
    assert [row[:5] for row in found] == [["digits", "CAM", "pgd", name, "6"] for name in ("bim", "adv2", "advedge")]
    for row, rows in zip(found, (adv2.of("bim"), adv2.of("adv2"), advedge.of("advedge")), strict=True):
        for cell, column in zip(row[5:], ("joint_success", "success", "map_l1", "map_iou"), strict=False):
            assert starts(cell, mean(rows, column)), (row, column)
        assert starts(row[9], mean(rows, "ssim"))
        assert starts(row[10], mean(rows, "edge_energy"))
        sure = [one for one in rows if one["success"]]
        assert starts(row[11], mean(sure, "confidence")) if sure else row[11] == ""
    assert mean(adv2.of("adv2"), "success") > mean(advedge.of("advedge"), "success"), "they differ"


def test_joint_success_has_one_measure_for_all(runs: tuple[dict[str, Written], list[grid_tables.Cell]]) -> None:
    """C&W's is counted below PGD's limit, and not below that of noise as small as its changes."""
    written, cells = runs
    pgd, cw = written["resnet20-pgd-adv2-cam"], written["resnet20-cw-adv2-cam"]
    limits = [run.summary["joint_success_threshold"]["cam"]["map_l1_below"] for run in (pgd, cw)]
    shares = [mean([{"kept": row["success"] and row["map_l1"] < at} for row in cw.of("adv2")], "kept") for at in limits]
    assert shares[0] > shares[1]
    (row,) = (row for row in lines(grid_tables.by_cell(grid_tables.on_one_scale(cells))) if row[2:4] == ["cw", "adv2"])
    assert starts(row[5], shares[0])


def test_differences_are_of_the_same_images(runs: tuple[dict[str, Written], list[grid_tables.Cell]]) -> None:
    written, cells = runs
    ours = written["resnet20-pgd-advedge-cam"].of("advedge")
    theirs = written["resnet20-pgd-adv2-cam"].of("adv2")
    ((*place, joint, success, distance, iou, noise, edges),) = lines(grid_tables.against_adv2(cells))
    assert place == ["digits", "CAM", "pgd", "advedge", "6"]
    shown = {"joint_success": joint, "success": success, "map_l1": distance, "map_iou": iou, "edge_energy": edges}
    for column, cell in shown.items():
        assert starts(cell, mean(ours, column) - mean(theirs, column), signed=True), column
    assert starts(noise, mean(ours, "ssim") - mean(theirs, "ssim"), signed=True)


def test_thresholds_stand_beside_the_attack_on_the_same_pixels(
    runs: tuple[dict[str, Written], list[grid_tables.Cell]],
) -> None:
    written, cells = runs
    run = written["resnet20-pgd-threshold0.2-cam"]
    found = lines(grid_tables.by_threshold(cells))
    assert [row[:3] for row in found] == [["0.2", "bim-edge-mask", "6"], ["0.2", "advedge+", "6"]]
    for row in found:
        assert starts(row[4], mean(run.of(row[1]), "success"))


def test_shares_are_of_the_benign_maps_distance(runs: tuple[dict[str, Written], list[grid_tables.Cell]]) -> None:
    written, cells = runs
    run = written["resnet20-pgd-patch-cam"]
    (row,) = lines(grid_tables.toward_targets(cells))
    assert row[:4] == ["digits", "CAM", "patch", "6"]
    before = mean(run.of("clean"), "map_l1_target")
    for cell, attack in ((row[7], "adv2"), (row[8], "bim")):
        assert cell == f"{mean(run.of(attack), 'map_l1_target') / before:.3f}"
    assert starts(row[6], mean(run.of("adv2"), "map_l1_target"))


def test_the_cells_of_the_grid_can_be_run() -> None:
    """And are all that the table of combinations is to have."""
    found = {name: RunConfig.create(data="some", **settings) for name, settings in grid.cells().items()}
    cells = [one for one in found.values() if one.edge_threshold is None and one.target_map == "benign"]
    joint = {(one.classifier, one.perturbation, one.attack, one.interpreters) for one in cells}
    assert len(joint) == 2 * 3 * 3 * 4
    assert len(found) == 2 * 3 * 3 * 4 + 2 * 2 * 4 + len(grid.THRESHOLDS)
    assert {config.eps for config in found.values()} == {None, (8 / 255,)}
