"""The tables of ``benchmarks.defenses`` and ``benchmarks.certificates``, from the rows in the documentation."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from benchmarks import certificates, defense_tables, defenses
from underfire import metrics

ROOT = Path(__file__).parents[1]
ROWS, PAGE = ROOT / "docs" / "results" / "defenses", ROOT / "docs" / "defenses.md"
NAMES = sorted(path.name.removesuffix("-attack.csv") for path in ROWS.glob("*-attack.csv"))


def rows_of(name: str) -> list[dict[str, str]]:
    with (ROWS / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def said(values: list[bool]) -> str:
    found = metrics.rate(values)
    return f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"


@pytest.mark.parametrize("name", NAMES)
def test_shares_on_the_page_are_counted_from_the_rows(name: str) -> None:
    """An image stands if it is right, and neither attack found another class (with a map below the limit)."""
    rows = rows_of(f"{name}-attack")
    robust, joint = [], []
    for row in rows:
        wins = [
            float(row[distance]) < float(row["limit"])
            for won, distance in (("success", "map_l1"), ("success_alone", "map_l1_alone"))
            if int(row[won])
        ]
        robust.append(row["correct"] == "1" and len(wins) == 0)
        joint.append(row["correct"] == "1" and True not in wins)
    assert sum(robust) <= sum(joint)
    expected = f"| {defense_tables.TITLES[name]} | {len(rows)} | "
    line = next(each for each in PAGE.read_text(encoding="utf-8").splitlines() if each.startswith(expected))
    cells = [cell.strip() for cell in line.split("|")]
    assert cells[3:6] == [said([row["correct"] == "1" for row in rows]), said(robust), said(joint)]


def test_the_page_holds_both_tables_as_they_are() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert defense_tables.tables() in text
    assert certificates.table() in text


def test_every_row_of_the_board_has_a_title() -> None:
    names = [each.name for each in defenses.board("aid")]
    assert set(names) == set(defense_tables.TITLES)
    assert len(names) == len(set(names))
    assert set(NAMES) <= set(names)


def test_fooled_images() -> None:
    row = {
        "success": "1",
        "map_l1": "0.2",
        "success_alone": "1",
        "map_l1_alone": "0.3",
        "limit": "0.25",
        "correct": "1",
    }
    assert defense_tables.standing([row], True) == [False]
    away = row | {"map_l1": "0.26"}
    assert (defense_tables.standing([away], True), defense_tables.standing([away], False)) == ([True], [False])
    lost = away | {"success": "0", "success_alone": "0"}
    assert defense_tables.standing([lost, lost | {"correct": "0"}], False) == [True, False]


def test_certificates_are_counted_from_the_rows() -> None:
    for network, radii in certificates.RADII.items():
        path = ROWS / f"certificates-{network}.csv"
        rows = rows_of(path.stem) if path.exists() else []
        for radius in radii:
            some = [row for row in rows if float(row["radius"]) == radius]
            if not some:
                continue
            line = next(each for each in certificates.table().splitlines() if f"| {network} | {radius} |" in each)
            sure = [row for row in some if int(row["certified"]) > 0]
            held = [int(row["attacked"]) >= int(row["certified"]) for row in sure]
            assert f" {len(some)} | {len(sure)} |" in line
            assert line.endswith(f"| {said(held)} |")
            assert max(float(row["l2"]) for row in some) <= radius
