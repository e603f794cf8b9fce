"""Charts of many runs: what the legend says, and that every curve and point can still be told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from plotly.graph_objects import Figure

from tests.reports.fakes import Fake
from underfire.reports.account import Account, accounts_of
from underfire.reports.chart import COLOURS, CROWD
from underfire.reports.curves import threshold_chart
from underfire.reports.dots import MANY
from underfire.reports.points import legend_groups, trade_off_chart
from underfire.runs import Run


class Noisy(Fake):
    """Noise moves the maps by ``moved``, which sets the limit."""

    moved = 0.1

    def distance(self, i: int, attack: str, reader: int = 0) -> float:
        return self.moved if attack == "noise" else super().distance(i, attack, reader)


@pytest.fixture(scope="module")
def accounts(tmp_path_factory: pytest.TempPathFactory) -> list[Account]:
    """Ten attacks: two on each of five classifiers."""
    folder, found = tmp_path_factory.mktemp("runs"), []
    for number in range(10):
        fake = Noisy(count=4, attack=("adv2", "auto")[number % 2], classifier=f"net{number // 2}")
        found += accounts_of(Run(fake.write(folder / f"run{number}")))
    return found


def entries(figure: dict[str, Any]) -> list[str]:
    return [trace["name"] for trace in figure["data"] if trace.get("showlegend", True)]


def test_the_legend_of_many_curves_names_groups(accounts: list[Account]) -> None:
    chart = threshold_chart(accounts, "cam")
    assert chart.crowded
    found = chart.figure()
    Figure(found)  # raises an error for unknown properties
    assert entries(found) == ["adv2", "auto", "prediction only"]
    assert chart.legend == "attack"
    curves = [trace for trace in found["data"] if len(trace["x"]) > 1]
    assert len(curves) == 20  # no bands
    assert len({trace["name"] for trace in curves if trace["meta"]["role"] == "attack"}) == 10
    assert {trace["legendgroup"] for trace in curves} == {"adv2", "auto", "prediction only"}
    colours = {trace["name"]: trace["meta"]["place"] for trace in curves}
    assert colours["adv2, net0"] == colours["adv2, net4"] == 0
    assert colours["auto, net2"] == 1
    heads, rows = chart.numbers()
    assert [name for name, _ in rows] == [line.name for line in chart.lines]
    assert all(len(texts) == len(heads) - 1 for _, texts in rows)
    assert "Point at a curve" in chart.caption


def test_few_curves_keep_their_names_and_bands(accounts: list[Account]) -> None:
    chart = threshold_chart(accounts[:CROWD], "cam")
    assert not chart.crowded
    found = chart.figure()
    assert len(entries(found)) == 2 * CROWD
    assert sum(bool(trace["meta"].get("band")) for trace in found["data"]) == CROWD


def test_many_limits_are_dots_on_their_curves(tmp_path: Path) -> None:
    found = []
    for number in range(4):
        fake = Noisy(count=8, classifier=f"net{number}")
        fake.moved = 0.05 + 0.03 * number
        found += accounts_of(Run(fake.write(tmp_path / f"run{number}")))
    chart = threshold_chart(found, "cam")
    assert chart.marks == ()
    reached = [0.02 * (i + 1) for i in range(8) if i % 4 != 3]
    for number, line in enumerate(line for line in chart.lines if line.role == "attack"):
        limit = 0.05 + 0.03 * number
        assert line.limit == (pytest.approx(limit), pytest.approx(sum(d < limit for d in reached) / 8))
    assert all(line.limit is None for line in chart.lines if line.role == "control")
    dots = [trace for trace in chart.figure()["data"] if trace["mode"] == "markers"]
    assert len(dots) == 4
    assert "The dot on a curve is the limit of its run." in chart.about


def test_points_are_grouped_and_every_control_has_a_mark(accounts: list[Account]) -> None:
    chart = trade_off_chart(accounts)
    assert len(chart.dots) == 30 > MANY
    found = chart.figure()
    Figure(found)
    assert entries(found) == ["adv2", "auto", "prediction only", "random noise"]
    marks = {dot.role: trace["marker"]["symbol"] for dot, trace in zip(chart.dots, found["data"], strict=False)}
    assert len(set(marks.values())) == 3
    assert {trace["legendgroup"] for trace in found["data"][:3]} == {"adv2", "prediction only", "random noise"}
    assert chart.dots[0].about == {"attack": "adv2", "interpreter": "cam", "classifier": "net0", "run": "run0"}
    assert "attack" not in chart.dots[1].about  # a control may stand beside several attacks


def test_a_control_that_several_attacks_share_is_one_point(tmp_path: Path) -> None:
    folder = Fake(count=4, interpreters=("cam", "grad"), each=True).write(tmp_path / "run")
    chart = trade_off_chart(accounts_of(Run(folder)))
    roles = [(dot.role, dot.about["interpreter"]) for dot in chart.dots]
    assert sorted(roles) == [(role, name) for role in ("attack", "control", "noise") for name in ("cam", "grad")]


def test_groups_are_the_first_difference_that_has_colours(accounts: list[Account], tmp_path: Path) -> None:
    name, groups = legend_groups(accounts)
    assert (name, set(groups.values())) == ("attack", {"adv2", "auto"})
    name, groups = legend_groups(accounts[:COLOURS])
    assert name == ""
    assert list(groups.values())[:3] == ["adv2, net0", "auto, net0", "adv2, net1"]
    # More attacks than colours, and few classifiers: then classifiers have the colours.
    many = [
        account
        for number in range(COLOURS + 1)
        for account in accounts_of(
            Run(Fake(count=1, attack=f"adv{number}", classifier=f"net{number % 2}").write(tmp_path / f"run{number}"))
        )
    ]
    name, groups = legend_groups(many)
    assert (name, set(groups.values())) == ("classifier", {"net0", "net1"})
