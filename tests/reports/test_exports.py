"""Exports: files hold the run's numbers and maps, and memory does not grow with the maps."""

from __future__ import annotations

import csv
import re
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file

from tests.reports.fakes import Fake
from underfire.errors import InputError, StoreError, UserCodeError
from underfire.reports.account import accounts_of
from underfire.reports.columns import summary_columns
from underfire.reports.exports import EXPORTS, export, maps
from underfire.reports.exports.latex import escaped
from underfire.runs import Run
from underfire.runs.cell_folder import CellFolder

OWN = """
def markdown(run, out):
    out.write_text(f"| {run.classifier} | {len(run.image_ids)} |")


def broken(run, out):
    out.write_text("half")
    raise KeyError("no such thing")


number = 3
"""


def test_csv_has_the_rows_of_results(tmp_path: Path) -> None:
    folder = Fake(ids=('a,"b"\nc',)).write(tmp_path / "run")
    out = export(folder, "csv", tmp_path / "new" / "results.csv")
    with out.open(newline="") as file:
        found = list(csv.DictReader(file))
    expected = pq.read_table(folder / "results.parquet").to_pylist()
    assert len(found) == len(expected) == 8 * 4
    assert found[0]["image_id"] == 'a,"b"\nc'
    for row, other in zip(found, expected, strict=True):
        assert list(row) == list(other)
        for name, value in other.items():
            if value is None:
                assert row[name] == ""
            elif isinstance(value, bool):
                assert row[name] == str(value).lower()
            elif isinstance(value, float):
                assert float(row[name]) == value
            else:
                assert row[name] == str(value)


def test_a_table_whose_bytes_have_changed_is_not_exported(tmp_path: Path) -> None:
    """Regression: numbers that a disk had changed were exported without a word."""
    folder = Fake(count=300).write(tmp_path / "run")
    path = folder / "results.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(bytes(content))
    with pytest.raises(StoreError, match=r"results\.parquet cannot be read: .*'underfire report --tables' makes it"):
        export(folder, "csv", tmp_path / "rows.csv")
    assert not list(tmp_path.glob("rows.csv*"))


@pytest.mark.parametrize("form", ["one", "each", "wanted"])
def test_maps_are_in_one_file(tmp_path: Path, form: str) -> None:
    fake = Fake(interpreters=("cam", "grad"), each=form == "each", keeps=form != "wanted", rest=2, ids=('\u00e9/"x',))
    out = export(fake.write(tmp_path / "run"), "maps", tmp_path / "maps.safetensors")
    expected = {}
    for cell in fake.cells:
        for name in cell.read_by:
            for i in range(fake.count + (fake.rest if cell.kind == "clean" else 0)):
                expected[f"{cell.label}/{name}/{fake.name(i)}"] = fake.map(i, cell.attack)
                if form == "wanted" and cell.kind == "attack":
                    expected[f"wanted/{name}/{fake.name(i)}"] = np.ones((4, 6), np.float32)
    found = load_file(out)
    assert sorted(found) == sorted(expected)
    for key, values in expected.items():
        assert found[key].dtype == np.float32
        assert np.array_equal(found[key], values), key
    with safe_open(out, framework="np") as file:
        assert sorted(file.keys()) == sorted(expected)
    assert int.from_bytes(out.read_bytes()[:8], "little") % 8 == 0


def test_memory_does_not_grow_with_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a hundred times as many bytes of maps, memory grows by three maps at most."""
    folder = Fake(count=30).write(tmp_path / "run")
    peaks = []
    for side in (32, 320):
        monkeypatch.setattr(CellFolder, "map", lambda *_, side=side: np.ones((side, side), np.float32))
        tracemalloc.start()
        out = export(folder, "maps", tmp_path / "maps.safetensors")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert out.stat().st_size > 30 * 4 * 320 * 320 * 4
    assert peaks[1] - peaks[0] < 3 * 320 * 320 * 4


def test_maps_that_do_not_fit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Fake(count=3).write(tmp_path / "run")
    monkeypatch.setattr(maps, "LONGEST_HEADER", 500)
    with pytest.raises(StoreError, match=r"has 12 maps: their names take .* a safetensors file has room for 500"):
        export(folder, "maps", tmp_path / "x")
    monkeypatch.undo()
    monkeypatch.setattr(CellFolder, "map", lambda *asked: np.ones((2 + (asked[-1] == "set/002"), 2), np.float32))
    with pytest.raises(StoreError, match=r"map clean/cam/set/002 .* is missing, or not 2 x 2"):
        export(folder, "maps", tmp_path / "x")
    assert list(tmp_path.iterdir()) == [folder]


def test_latex_has_the_summary_and_cautions(tmp_path: Path) -> None:
    folder = Fake(interpreters=("cam", "mask:quick_1")).write(tmp_path / "run")
    text = export(folder, "latex", tmp_path / "table.tex").read_text()
    (account,) = accounts_of(Run(folder))
    columns = summary_columns([account])
    assert text.count("{") == text.count("}")
    lines = text.splitlines()
    assert (
        r"interpreter & attack & joint $\uparrow$ & success $\uparrow$ & map L1 $\downarrow$ & map IoU $\uparrow$ & "
        r"image SSIM $\uparrow$ \\" in lines
    )
    rows = [line for line in lines if line.startswith(("cam &", r"mask:quick\_1 &"))]
    asked = [
        group
        for name in account.part.interpreters
        for group in (
            *(account.group(role, name) for role in account.part.labels),
            *({"joint_success": share} for share in account.chance(name).values()),
        )
    ]
    assert sum("other map &" in row for row in rows) == sum("average map &" in row for row in rows) == 2
    for row, group in zip(rows, asked, strict=True):
        known = [group[measure.name] for measure in columns if measure.name in group]
        expected = [tuple(f"{value[key]:.3f}" for key in ("mean", "low", "high")) for value in known]
        assert re.findall(r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]", row) == expected
    assert any(
        line.startswith(r"\multicolumn{7}{l}{adv2, cam and mask:quick\_1 at once: few images; no clear difference")
        for line in lines
    )


def test_latex_shows_names_whatever_they_hold() -> None:
    assert escaped("50%_a&b{c}\\d~e^f#$\u202e<|>") == (
        r"50\%\_a\&b\{c\}\textbackslash{}d\textasciitilde{}e\textasciicircum{}f\#\$\textbackslash{}u202e"
        r"\textless{}\textbar{}\textgreater{}"
    )


def test_a_user_defined_format_is_one_file(tmp_path: Path) -> None:
    own = tmp_path / "my_export.py"
    own.write_text(OWN)
    folder = Fake(count=3).write(tmp_path / "run")
    out = export(folder, f"{own}:markdown", tmp_path / "table.md")
    assert out.read_text() == "| toy | 3 |"
    with pytest.raises(UserCodeError, match=r"export format '.*:broken' fails: KeyError: 'no such thing'"):
        export(folder, f"{own}:broken", tmp_path / "table.md")
    assert out.read_text() == "| toy | 3 |"  # the earlier file stays, and nothing is left beside it
    assert not list(tmp_path.glob("table.md.*"))
    with pytest.raises(InputError, match="an object of type int; expected a function that takes a Run"):
        export(folder, f"{own}:number", tmp_path / "x")


def test_wrong_arguments_are_refused(tmp_path: Path) -> None:
    assert sorted(EXPORTS) == ["csv", "huggingface", "latex", "maps"]
    with pytest.raises(InputError, match=re.escape("unknown export format 'cvs'. Did you mean 'csv'?")):
        export(tmp_path, "cvs", tmp_path / "x")
    with pytest.raises(StoreError, match="holds no finished run"):
        export(tmp_path, "csv", tmp_path / "x")
    folder = Fake(count=1).write(tmp_path / "run")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=re.escape(f"export {tmp_path / 'file' / 'x'} cannot be written")):
        export(folder, "csv", tmp_path / "file" / "x")
    (folder / "results.parquet").write_bytes(b"nothing")
    with pytest.raises(StoreError, match=r"results\.parquet cannot be read"):
        export(folder, "csv", tmp_path / "x")
    (folder / "results.parquet").unlink()
    with pytest.raises(StoreError, match=r"results\.parquet cannot be read"):
        export(folder, "csv", tmp_path / "x")
