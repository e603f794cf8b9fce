"""The page's p-values, and its table of outliers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.reports.fakes import Fake
from tests.reports.parsed import gallery_data, page
from underfire import metrics
from underfire.reports.account import Account, accounts_of
from underfire.reports.rows import numbers_table, outlier_table
from underfire.runs import Run


class Ahead(Fake):
    """The attack on the prediction alone keeps no map, and the attack keeps the first ``kept`` maps."""

    kept = 0

    def success(self, i: int, attack: str) -> bool:
        return True

    def distance(self, i: int, attack: str, reader: int = 0) -> float:
        if attack == self.attack:
            return 0.02 if i < self.kept else 0.4 + 0.01 * i
        return super().distance(i, attack, reader)


def accounts(folder: Path, *kept: int) -> list[Account]:
    found = []
    for number, count in enumerate(kept):
        fake = Ahead(count=12, attack=f"adv{number}")
        fake.kept = count
        found += accounts_of(Run(fake.write(folder / f"run{number}")))
    return found


def test_p_values_are_corrected_for_all_attacks_of_the_page(tmp_path: Path) -> None:
    """Of 12 images, k differ, all in one direction: p = 2 / 2^k. Holm: 3 p, 2 p, p, never falling, at most 1."""
    table = numbers_table(accounts(tmp_path, 5, 10, 2))
    rows = [row for row in table.rows if row.kind == "difference"]
    alone = [2 / 2**5, 2 / 2**10, 2 / 2**2]
    held = [2 * alone[0], 3 * alone[1], max(alone[2], 2 * alone[0])]
    assert table.columns[-1].heading == "Holm p"
    for row, p, corrected in zip(rows, alone, held, strict=True):
        cell = row.cells[-1]
        assert cell is not None
        assert cell.value == pytest.approx(corrected)
        assert (cell.mean, cell.interval) == (f"{corrected:.3f}", f"p = {p:.3f}")
    assert {row.cells[-1] for row in table.rows if row.kind != "difference"} == {None}


class Alone(Fake):
    @property
    def attacks(self) -> list[str]:
        return ["clean", "noise", self.attack]


def test_without_a_control_there_are_no_columns_of_p_values(tmp_path: Path) -> None:
    table = numbers_table([Alone().account(tmp_path)])
    assert not [column for column in table.columns if column.heading == "Holm p"]
    assert {len(row.cells) for row in table.rows} == {len(table.columns)}


class Far(Fake):
    """One map ends far away."""

    def distance(self, i: int, attack: str, reader: int = 0) -> float:
        if attack == self.attack:
            return 0.9 if i == 6 else 0.02 * (i * i % 7 + 1)
        return super().distance(i, attack, reader)


def test_the_table_of_outliers_has_the_correlations_of_the_run(tmp_path: Path) -> None:
    folder = Far(count=12, interpreters=("cam", "grad")).write(tmp_path / "run")
    (account,) = accounts_of(Run(folder))
    table = outlier_table([account])
    assert table is not None
    distances = [Far().distance(i, "adv2") for i in range(12)]
    lead = [1 + i / 10 for i in range(12)]  # of the true class over the others, which have 0
    expected = metrics.rank_correlation(lead, distances)
    assert expected.mean is not None
    heads = [column.heading for column in table.columns]
    assert heads == ["far maps", "half-mass area", "mass spread", "margin to next", "margin to target"]
    for row, name in zip(table.rows, ("cam", "grad"), strict=True):
        assert (row.names, row.about["interpreter"], row.n) == (("adv2", name), name, 12)
        cells: list[Any] = list(row.cells)
        assert cells[0].mean == "1"
        assert cells[3].value == cells[4].value == pytest.approx(expected.mean)
        assert cells[3].mean == f"{expected.mean:+.2f}".replace("-", "−")
    text, parsed = page(tmp_path, folder)
    assert 'id="outliers"' in text
    # The gallery's filter finds the same images.
    data = gallery_data(parsed)
    group = data["groups"][0]
    far = [item["image"] for item in data["items"] if item["group"] == 0 and item["distance"] > group["far"]]
    assert far == [6] == [n for n, image in enumerate(Run(folder).outliers()[0].images) if image.outlier]


def test_few_images_have_no_table_of_outliers(tmp_path: Path) -> None:
    folder = Fake(count=3).write(tmp_path / "run")
    assert outlier_table(accounts_of(Run(folder))) is None
    text, _ = page(tmp_path, folder)
    assert 'id="outliers"' not in text
