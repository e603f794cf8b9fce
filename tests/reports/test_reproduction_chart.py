"""Charts of a reproduction: nothing is drawn outside of its panel."""

from __future__ import annotations

import re

from tests.campaigns.reproduce.made import made
from underfire.metrics import Interval
from underfire.reports.reproduction.chart import PANEL, _drawing


def test_intervals_beyond_what_is_possible_end_at_the_panel() -> None:
    """With four images, the interval of an overlap of .9 may reach from below 0 to above 1."""
    ends = {"adv2": (-0.1, 0.9, 1.3), "auto": (0.2, 0.5, 0.7)}
    findings = [
        made(name, values={"map_iou": [mean] * 4}, intervals={"map_iou": Interval(mean, low, high, 4)})
        for name, (low, mean, high) in ends.items()
    ]
    drawn = "".join(_drawing("map_iou", findings, "overlap"))
    bars = [
        tuple(map(float, ends)) for ends in re.findall(r'<line x1="([-\d.]+)" x2="([-\d.]+)" [^>]*stroke-width', drawn)
    ]
    assert sorted(bars) == [(0.0, PANEL), (0.2 * PANEL, 0.7 * PANEL)]
