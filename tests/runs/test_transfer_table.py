"""The table of a transfer is read as it was written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from underfire.runs.transferred import INTERVALS, read_tables, write_tables


def test_every_interval_keeps_its_own_number_of_images(tmp_path: Path) -> None:
    """Regression: all intervals got the number of images, also chance's, which counts pairs."""
    share = {"mean": 0.5, "low": 0.25, "high": 0.75}
    row: dict[str, Any] = {"cell": "adv2", "n": 8, "considered": 10, "eps": 0.1, "limit": 0.2}
    row |= dict.fromkeys(("joint_success_p_holm", "map_l1_p_holm"))
    row |= {name: share | {"n": 8 + place} for place, name in enumerate(INTERVALS)}
    found: Any = SimpleNamespace(rows=lambda: [row])
    path = write_tables(found, tmp_path)
    assert read_tables(tmp_path) == [row]
    path.write_text("\n".join(line.rsplit(",", len(INTERVALS))[0] for line in path.read_text().splitlines()))
    assert {each[name]["n"] for each in read_tables(tmp_path) for name in INTERVALS} == {8}  # an earlier version
