"""The display of a run in a notebook."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.runs.runs import Written
from tests.showing import Display, interval, pictures_of
from underfire.errors import InputError
from underfire.runs import Run


def test_the_table_has_the_numbers_of_the_summary(full: Written) -> None:
    shown = Display(Run(full.folder)._repr_html_())
    rows = {(attack, name): cells for attack, name, *cells in shown.rows[1:]}
    assert list(rows) == [(attack, name) for name in ("cam", "grad") for attack in ("noise", "bim", "adv2")]
    for (attack, name), cells in rows.items():
        expected = full.summary["interpreters"][name]["attacks"][attack]
        for cell, measure in zip(cells, ("success", "map_l1_target", "joint_success"), strict=True):
            wanted = tuple(expected[measure][key] for key in ("mean", "low", "high"))
            assert interval(cell) == pytest.approx(wanted, abs=6e-4)


def test_the_pictures_are_the_images_and_their_maps(full: Written) -> None:
    run = Run(full.folder)
    shown = Display(run._repr_html_())
    assert [name for name, _ in shown.pictures] == ["clean", "adversarial", "map before", "map after"] * 3
    for number, place in enumerate([0, 6, 12]):
        image_id = run.image_ids[place]
        clean, adversarial = (run.image(run.row(cell, "cam", image_id)) for cell in ("clean", "adv2"))
        before, after = (run.map(cell, "cam", image_id) for cell in ("clean", "adv2"))
        expected = pictures_of(clean, adversarial, before, after)
        for (_, found), wanted in zip(shown.pictures[4 * number :], expected, strict=False):
            assert np.array_equal(found, wanted)


def test_names_of_classes_are_text_and_no_markup(full: Written, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(full.folder, tmp_path / "evil"))
    record = json.loads((folder / "run.json").read_text())
    record["class_names"] = [f"<script>alert({number})</script>\u202e" for number in range(10)]
    record["configuration"]["classifier"] = "<b>me</b>"
    (folder / "run.json").write_text(json.dumps(record))
    shown = Display(Run(folder)._repr_html_())
    assert "script" not in shown.elements
    assert shown.texts[0] == "adv2 on <b>me</b>, cam + grad"
    captions = [text for text in shown.texts if " -> " in text]
    assert len(captions) == 3
    assert all(text.startswith("<script>alert(") and "\\u202e -> <script>" in text for text in captions)


def test_figure_is_a_picture_of_some_images(full: Written) -> None:
    run = Run(full.folder)
    one, other = run.figure(1), run.figure(1, "grad")
    assert one.size == other.size
    assert one.tobytes() != other.tobytes()
    with pytest.raises(InputError, match="interpreter is 'lrp'; the run has cam, grad"):
        run.figure(interpreter="lrp")


def test_to_pandas(full: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="pip install pandas"):
        Run(full.folder).to_pandas()
    monkeypatch.undo()
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = Run(full.folder).to_pandas()
    assert len(frame) == Run(full.folder).rows().num_rows
