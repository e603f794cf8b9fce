"""The tables of ``benchmarks.transformers``, from the rows in the documentation."""

from __future__ import annotations

import pytest

from benchmarks import transformer_tables as tables
from underfire import metrics


def said(values: list[bool]) -> str:
    found = metrics.rate(values)
    return f"{found.mean:.2f} [{found.low:.2f}, {found.high:.2f}]"


@pytest.mark.parametrize("name", list(tables.TABLES))
def test_the_page_holds_the_tables_as_they_are(name: str) -> None:
    assert tables.TABLES[name]() in tables.PAGE.read_text(encoding="utf-8")


def test_joint_success_is_counted_from_the_rows() -> None:
    """Of the images that the network gets right, those with the class reached and the map below its limit."""
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in tables.attack_table().splitlines()[2:]]
    assert lines
    for eps, name, attack, _, success, _, joint, *_, count in lines:
        rows = tables.read(tables.attack_path(int(eps), name, "adv2" if attack == "adv2" else "auto"))
        mine = [row for row in rows if row["attack"] == attack]
        assert len(mine) == int(count)
        assert success == said([row["success"] == "1" for row in mine])
        near = [float(row[f"l1-{name}"]) < float(row[f"limit-{name}"]) for row in mine]
        both = [reached["success"] == "1" and close for reached, close in zip(mine, near, strict=True)]
        assert joint == said(both)


def test_all_attacks_are_on_the_same_images() -> None:
    images = {
        tuple(row["image"] for row in rows if row["attack"] == kind)
        for eps in tables.EPS
        for name in tables.ATTACKED
        for kind in tables.KINDS
        if (rows := tables.read(tables.attack_path(eps, name, kind)))
    }
    assert len(images) == 1
