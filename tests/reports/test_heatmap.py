"""Heat maps: their data for plotly, and the same as a table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from plotly.graph_objects import Figure

from underfire.errors import InputError
from underfire.reports.document import Section, write_document
from underfire.reports.heatmap import heat_map

CELL = {"mean": 0.55, "low": 0.37, "high": 0.69, "n": 40}
NOTHING = {"mean": None, "low": None, "high": None, "n": 0}
EVIL = "</script><b>2</b>"


def test_each_cell_has_its_share_interval_and_number_of_images(tmp_path: Path) -> None:
    found = heat_map("Transfer", "About it.", ["a", EVIL], ["b", "b", "c"], [[CELL, None, CELL], [NOTHING, CELL, CELL]])
    figure = Figure(found.figure())  # raises an error for unknown properties
    (matrix,) = figure.data
    assert [list(row) for row in matrix.z] == [[0.55, None, 0.55], [None, 0.55, 0.55]]
    assert matrix.text[0][0] == "55 %"
    assert matrix.hovertext[0][0] == "55 % (37–69 %), n = 40"
    assert list(figure.layout.xaxis.ticktext) == ["b", "b", "c"]
    assert figure.layout.yaxis.ticktext[1] == "&lt;/script&gt;&lt;b&gt;2&lt;/b&gt;"
    heads, rows = found.numbers()
    assert heads[1:] == ["b", "b", "c"]
    assert rows[0] == ("a", ["55 % (37–69 %), n = 40", "–", "55 % (37–69 %), n = 40"])
    text = write_document(tmp_path / "page.html", "t", [Section("transfer", "Transfer", [found])]).read_text()
    assert EVIL not in text
    inside = text.split('<script type="application/json">')[1].split("</script>")[0]
    assert json.loads(inside)["layout"]["yaxis"]["autorange"] == "reversed"


def test_the_shape_must_fit() -> None:
    with pytest.raises(InputError, match="expected 1 rows of 2 values, one for each name"):
        heat_map("t", "", ["a"], ["b", "c"], [[CELL]])
