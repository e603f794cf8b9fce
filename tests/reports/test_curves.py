"""Curves: their numbers, and their data for plotly."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests.reports.fakes import Fake
from underfire.errors import StoreError
from underfire.reports.courses import held, mean_of_known
from underfire.reports.curves import step_charts, threshold_chart
from underfire.reports.layout import PLOT
from underfire.reports.points import trade_off_chart

grids = hnp.arrays(
    np.float64, st.tuples(st.integers(1, 6), st.integers(1, 5)), elements=st.one_of(st.just(math.nan), st.floats(0, 1))
)


@given(grids)
def test_last_values_are_held_and_means_are_over_what_is_known(grid: np.ndarray) -> None:
    kept = held(grid)
    for column in range(grid.shape[1]):
        last = math.nan
        for row in range(grid.shape[0]):
            last = last if math.isnan(grid[row, column]) else grid[row, column]
            assert kept[row, column] == last or (math.isnan(last) and math.isnan(kept[row, column]))
    for row, mean in zip(kept, mean_of_known(kept), strict=True):
        known = [value for value in row if not math.isnan(value)]
        assert mean == pytest.approx(sum(known) / len(known)) if known else math.isnan(mean)


def test_thresholds_are_those_of_joint_success(tmp_path: Path) -> None:
    chart = threshold_chart([Fake().account(tmp_path)], "cam")
    ours, control = chart.lines
    assert (ours.role, control.role) == ("attack", "control")
    reached = [0.02 * (i + 1) for i in range(8) if i % 4 != 3]
    for x, y in zip(ours.x, ours.y, strict=True):
        assert y == pytest.approx(sum(d < x for d in reached) / 8, abs=1e-6)
    assert [y for x, y in zip(control.x, control.y, strict=True) if x <= 0.3] == [0.0] * 31
    assert [mark.x for mark in chart.marks] == [pytest.approx(0.1)]
    assert chart.table()[0][0] == 0.0
    assert chart.table()[-1] == (0.5, [0.75, 0.75])


def test_steps_hold_images_that_left(tmp_path: Path) -> None:
    joint, success, distance = step_charts([Fake(count=4, trace=True).account(tmp_path)])
    # Maps are within the limit at step 40, when image 0 has left; the control reads no maps.
    assert [line.name for line in joint.lines] == ["adv2"]
    assert joint.lines[0].y == (0.0, 0.0, 0.0, 0.0, 0.75)
    assert success.lines[0].x == (0.0, 10.0, 20.0, 30.0, 40.0)
    assert success.lines[0].y == (0.25, 0.25, 0.25, 1.0, 1.0)  # image 0 left after 20, and still counts
    assert [line.name for line in success.lines] == ["adv2", "pgd (prediction only)"]
    # The control reads no maps. Image 0 stays at 0.3, the other three go on to 0.2 and 0.1.
    assert [line.name for line in distance.lines] == ["adv2"]
    assert distance.lines[0].y == (None, 0.4, 0.3, pytest.approx(0.225), pytest.approx(0.15))
    assert [(mark.x, mark.text) for mark in success.marks] == [(0.0, "warm-up"), (10.0, "joint")]


def test_without_a_trace_there_are_no_steps(tmp_path: Path) -> None:
    account = Fake(count=2).account(tmp_path)
    assert step_charts([account]) == []
    account.run.files.file("adv2", 0, "trace").write_bytes(b"x")
    with pytest.raises(StoreError, match=r"000000\.trace cannot be read"):
        step_charts([account])


def test_plotly_knows_every_property(tmp_path: Path) -> None:
    from plotly.graph_objects import Figure

    account = Fake(count=3, trace=True).account(tmp_path)
    charts = [threshold_chart([account], "cam"), *step_charts([account])]
    for chart in charts:
        figure = Figure(chart.figure())  # raises an error for unknown properties
        curves = [curve for curve in figure.data if "band" not in curve.meta]
        assert [tuple(curve.x) for curve in curves] == [line.x for line in chart.lines]
        words = figure.layout.annotations
        assert len(figure.layout.shapes) == len(words) == len(chart.marks)
        # Regression: "warm-up" lay on the curve. Words stand above the curves and below the legend.
        assert all(word.y == 1 and word.yanchor == "bottom" for word in words)
        highest = max(word.yshift for word in words) + 15
        assert (figure.layout.legend.y - 1) * PLOT > highest


class Apart(Fake):
    """In the trace, Grad's maps are 0.1 farther from the wanted maps than CAM's."""

    def _trace(self, attack: str) -> list[dict[str, Any]]:
        rows = super()._trace(attack)
        for row in rows:
            if row["interpreter"] == "grad" and row["map_l1"] is not None:
                row["map_l1"] += 0.1
        return rows


def test_each_interpreter_has_its_own_course(tmp_path: Path) -> None:
    """Regression: the page drew one curve, the mean over the interpreters."""
    account = Apart(count=4, interpreters=("cam", "grad"), trace=True).account(tmp_path)
    *_, success, cam, grad = step_charts([account])
    assert success.lines[0].y == (0.25, 0.25, 0.25, 1.0, 1.0)
    assert [chart.title for chart in (cam, grad)] == ["Map distance, by step, cam", "Map distance, by step, grad"]
    for one, other in zip(cam.lines[0].y, grad.lines[0].y, strict=True):
        assert (one is None and other is None) or other == pytest.approx(one + 0.1)


class Near(Fake):
    """Maps come within the limit of 0.1 at step 20 only; classes are reached at step 20 by half of the images."""

    def _trace(self, cell: Any) -> list[dict[str, Any]]:
        rows = super()._trace(cell)
        for row in rows:
            row |= {"success": row["step"] == 20 and row["position"] % 2 == 0, "map_l1": abs(row["step"] - 20) / 50}
        return rows


def test_joint_success_so_far_is_never_lost_again(tmp_path: Path) -> None:
    joint = step_charts([Near(count=8, trace=True).account(tmp_path)])[0]
    assert joint.title == "Joint success so far, by step, cam"
    for line in joint.lines:  # the control's trace holds maps, too
        assert line.x == (0.0, 10.0, 20.0, 30.0, 40.0)
        assert line.y == (0.0, 0.0, 0.5, 0.5, 0.5)
    assert [line.role for line in joint.lines] == ["attack", "control"]
    low, high = joint.lines[0].low[2], joint.lines[0].high[2]
    assert low is not None
    assert high is not None
    assert low < 0.5 < high
    assert joint.numbers()[1][2][1][0] == f"0.500 ({low:.3f}–{high:.3f})"


def test_attacks_on_one_interpreter_share_a_chart(tmp_path: Path) -> None:
    accounts = [Fake(count=4, attack=name, trace=True).account(tmp_path / name) for name in ("adv2", "auto")]
    chart = threshold_chart(accounts, "cam")
    assert [line.name for line in chart.lines if line.role == "attack"] == ["adv2", "auto"]
    assert {line.about["attack"] for line in chart.lines} == {"adv2", "auto"}
    assert len({line.place for line in chart.lines}) == 2
    assert [line.name for line in step_charts(accounts)[0].lines] == ["adv2", "auto"]


def test_points_of_success_by_map_distance(tmp_path: Path) -> None:
    from plotly.graph_objects import Figure

    chart = trade_off_chart([Fake(count=8).account(tmp_path)])
    ours, control, noise = chart.dots
    assert ours.at == (pytest.approx(0.09), 0.75)
    assert control.at == (pytest.approx(0.3), 0.75)
    assert noise.at == (pytest.approx(0.1), 0.0)
    assert ours.n == 8
    assert ours.low[1] < 0.75 < ours.high[1]
    Figure(chart.figure())
