"""``Run``, the reader: what it finds, what it refuses, how little it loads, and the files that are made again."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.runs.conftest import small_config
from tests.runs.runs import MISLABELLED, Row, Written, without_seconds
from underfire.errors import InputError, StoreError, UnderfireWarning
from underfire.runs import Run, cell_folder, run_attack
from underfire.runs.results import write_results


@pytest.fixture
def copied(full: Written, tmp_path: Path) -> Path:
    return Path(shutil.copytree(full.folder, tmp_path / "copied"))


def test_a_run_is_read_back(full: Written) -> None:
    run = Run(full.folder)
    assert run.record == full.run
    assert run.images == full.summary["images"]
    assert run.interpreters == ["cam", "grad"]
    assert list(run.cells) == ["clean", "bim", "adv2", "noise"]
    assert (run.classifier, run.lacks, run.has_masks) == ("digits-resnet", (), False)
    ids = [row["image_id"] for row in full.of("adv2")]
    assert run.image_ids == ids
    assert run.correct.tolist() == [True] * 13
    for label in run.cells:
        for interpreter in run.interpreters:
            rows = full.of(label, interpreter)
            for measure in run.measures:
                values = run.column(label, interpreter, measure.name)
                expected = np.array([np.nan if r[measure.name] is None else r[measure.name] for r in rows], dtype=float)
                assert np.array_equal(np.asarray(values, dtype=float), expected, equal_nan=True)
            for row in rows[:3]:
                found = run.row(label, interpreter, row["image_id"])
                assert found == {key: row[key] for key in found}
                assert (run.image(found) == (full.images([row])[0, 0] * 255).round().numpy()).all()
                shown = run.map(label, interpreter, row["image_id"])
                assert (shown == full.maps[f"{label}/{interpreter}/{row['image_id']}"].numpy()).all()
    assert run.mask(ids[0]) is None
    assert run.wanted("adv2", "cam", ids[0]) is None
    assert run.summary() == full.summary
    assert "13 images, cells clean, bim, adv2, noise" in repr(run)


def test_images_that_were_not_attacked_have_clean_rows_and_maps_alone(full: Written) -> None:
    run = Run(full.folder)
    image_id = f"pictures/{MISLABELLED:03d}.png"
    assert image_id not in run.image_ids
    row = run.row("clean", "cam", image_id)
    assert not row["correct_before"]
    assert (run.map("clean", "cam", image_id) == full.maps[f"clean/cam/{image_id}"].numpy()).all()
    with pytest.raises(StoreError, match=f"has no image '{re.escape(image_id)}'"):
        run.map("adv2", "cam", image_id)
    with pytest.raises(StoreError, match="has no image"):
        run.row("adv2", "cam", image_id)


def test_rows_and_columns_can_be_chosen(full: Written) -> None:
    run = Run(full.folder)
    assert len(run.rows()) == len(full.rows)
    assert run.rows(["image_id", "l2"], "bim").column_names == ["image_id", "l2"]
    assert run.rows(["l2"], "bim")["l2"].to_pylist() == [row["l2"] for row in full.rows if row["cell"] == "bim"]
    with pytest.raises(InputError, match=r"cell is 'pgd'; the run has clean, bim, adv2, noise\."):
        run.rows(cell="pgd")


def test_the_cases_of_a_comparison(full: Written) -> None:
    (part,) = Run(full.folder).comparisons
    assert (part.attack, part.control, part.attacked, part.readers) == ("adv2", "bim", ["cam", "grad"], [])
    assert part.title == "adv2 on digits-resnet, cam + grad"
    assert part.names == {"clean": "clean", "noise": "noise", "control": "bim", "attack": "adv2"}
    seen: set[str] = set()
    for interpreter in part.interpreters:
        rows = full.of("adv2", interpreter)
        verdicts = ["joint" if r["joint_success"] else "class" if r["success"] else "failed" for r in rows]
        cases = [part.case(interpreter, order) for order in range(len(rows))]
        assert [case.verdict for case in cases] == verdicts
        assert [case.distance for case in cases] == [row["map_l1_target"] for row in rows]
        assert [case.row["image_id"] for case in cases] == [row["image_id"] for row in rows]
        assert set(cases[0].rows) == {"clean", "noise", "control", "attack"}
        seen |= set(verdicts)
    assert seen == {"joint", "class", "failed"}


def test_class_names(copied: Path) -> None:
    """Those that were not recorded are not guessed."""
    record = json.loads((copied / "run.json").read_text())
    (copied / "run.json").write_text(json.dumps(record | {"class_names": ["ant", "bee", "c\u202et"]}))
    run = Run(copied)
    assert [run.class_name(number) for number in (0, 2, 7, None)] == ["ant", "c\\u202et", "class 7", "any other class"]
    (copied / "run.json").write_text(json.dumps(record | {"class_names": None}))
    assert Run(copied).class_name(0) == "class 0"


def test_what_is_no_finished_run_is_refused(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=re.escape(f"{tmp_path} holds no finished run: run.json is missing.")):
        Run(tmp_path)
    text = (copied / "run.json").read_text()
    (copied / "run.json").write_text(text.replace('"finished": true', '"finished": false'))
    with pytest.raises(StoreError, match="is not finished: finish it with --resume"):
        Run(copied)
    for wrong, said in {"[]": "holds a list", "{": "cannot be read"}.items():
        (copied / "run.json").write_text(wrong)
        with pytest.raises(StoreError, match=said):
            Run(copied)
    (copied / "run.json").write_text(text)
    run, first = Run(copied), Run(copied).image_ids[0]
    files = copied / "cells" / run.cells["adv2"].key
    with pytest.raises(StoreError, match="has no image 'other'"):
        run.map("adv2", "cam", "other")
    with pytest.raises(StoreError, match="has no map of adv2 by gradcam"):
        run.files.map("adv2", "gradcam", first)
    for file in files.glob("*.safetensors"):
        file.write_bytes(b"nothing")
    with pytest.raises(StoreError, match=r"000000\.safetensors cannot be read"):
        Run(copied).map("adv2", "cam", first)
    for file in files.glob("*.parquet"):
        file.write_bytes(b"nothing")
    with pytest.raises(StoreError, match=r"000000\.parquet cannot be read"):
        Run(copied).column("adv2", "cam", "l2")
    (copied / full_image(copied)).unlink()
    with pytest.raises(StoreError, match=r"image .* of the run cannot be read"):
        Run(copied).image({"image_file": full_image(copied, missing=True)})


def changed(path: Path, column: str) -> None:
    """Change the last bit of a column's values."""
    groups, content = pq.read_metadata(path).row_group(0), bytearray(path.read_bytes())
    (held,) = (each for each in map(groups.column, range(groups.num_columns)) if each.path_in_schema == column)
    first = held.dictionary_page_offset if held.has_dictionary_page else held.data_page_offset
    content[first + held.total_compressed_size - 1] ^= 1
    path.write_bytes(bytes(content))


def test_a_number_that_was_changed_is_not_shown(copied: Path) -> None:
    changed(copied / "results.parquet", "l2")
    with pytest.raises(StoreError, match=r"results\.parquet cannot be read: .*--resume"):
        Run(copied).to_pandas()
    for file in copied.glob("cells/*/000000.parquet"):
        changed(file, "l2")
    with pytest.raises(StoreError, match=r"000000\.parquet cannot be read: .*--resume"):
        Run(copied).column("adv2", "cam", "l2")


def full_image(folder: Path, missing: bool = False) -> str:
    """The path of the first clean image, or of none."""
    found = sorted((folder / "images" / "clean").iterdir())[0].relative_to(folder).as_posix()
    return found.replace(".png", "-gone.png") if missing else found


@pytest.mark.parametrize("lost", ["results.parquet", "trace.parquet", "summary.json", "all"])
def test_files_can_be_made_again(copied: Path, lost: str) -> None:
    """They hold nothing that the cells do not."""
    before = Written(copied)
    names = ["results.parquet", "trace.parquet", "summary.json"] if lost == "all" else [lost]
    held = {name: (copied / name).read_bytes() for name in names}
    for name in names:
        (copied / name).unlink()
    assert write_results(Run(copied)) == before.summary
    after = Written(copied)
    assert (after.rows, after.trace, after.summary) == (before.rows, before.trace, before.summary)
    assert {name: (copied / name).read_bytes() for name in names} == held, "to the bit"


def test_a_finished_run_that_lost_its_summary_makes_it_again(small: Written, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(small.folder, tmp_path / "copied"))
    (folder / "summary.json").unlink()
    with pytest.warns(UnderfireWarning, match=r"summary\.json is missing. It is made again"):
        assert run_attack(small_config(), folder, resume=True) == small.summary


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """300 images in 15 shards."""
    folder = tmp_path_factory.mktemp("large")
    run_attack(small_config(attack="pgd", count=300), folder, batch_size=20)
    return Written(folder)


class Opened:
    """Notes which files of tensors are opened, how many are held at once, and how many rows are written at a time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.files: list[Path] = []
        self.rows: list[int] = []
        original, write = cell_folder.open_tensors, pq.ParquetWriter.write_table

        def watched(path: Path) -> Any:
            self.files.append(path)
            return original(path)

        def written(writer: Any, table: Any, *rest: Any, **more: Any) -> None:
            self.rows.append(len(table))
            write(writer, table, *rest, **more)

        monkeypatch.setattr(cell_folder, "open_tensors", watched)
        monkeypatch.setattr(pq.ParquetWriter, "write_table", written)


def of_the_limit(large: Written) -> set[Path]:
    """The files that the limit is made from: benign maps, and noise distances."""
    folders = [large.folder / "cells" / large.keys[label] for label in ("clean", "noise")]
    return {file for folder in folders for file in folder.glob("*.safetensors")}


def test_finishing_opens_benign_maps_alone_and_writes_shard_by_shard(
    large: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Opened(monkeypatch)
    assert write_results(Run(large.folder)) == large.summary
    assert set(opened.files) == of_the_limit(large), "and no maps of attacks"
    assert max(opened.rows) <= 20 * 3 + 20
    assert pq.ParquetFile(large.folder / "results.parquet").num_row_groups == large.run["shards"] == 15
    assert Written(large.folder).rows == large.rows


def test_maps_are_read_when_they_are_looked_at(large: Written, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, run = Opened(monkeypatch), Run(large.folder)
    run.summary()
    (part,) = run.comparisons
    assert part.joint("attack", "cam").shape == (300,)
    assert set(opened.files) == of_the_limit(large)
    assert len(run.files._open) <= cell_folder.OPEN
    opened, run = Opened(monkeypatch), Run(large.folder)
    for image_id in run.image_ids:
        for label in ("clean", "pgd"):
            run.map(label, "cam", image_id)
            assert len(run.files._open) <= cell_folder.OPEN
    assert len(opened.files) == len(set(opened.files)) == 30, "each file once"


def test_rows_do_not_depend_on_the_number_of_shards(large: Written, tmp_path: Path) -> None:
    run_attack(small_config(attack="pgd", count=300), tmp_path, batch_size=300)
    one = Written(tmp_path)
    assert one.run["shards"] == 1
    assert without_seconds(one.rows) == without_seconds(large.rows)
    order = [(row["position"], list(large.keys).index(row["cell"])) for row in large.rows]
    assert order == sorted(order), "image by image, in the data's order"
    summaries: list[Row] = [w.summary["interpreters"]["cam"]["attacks"]["pgd"] for w in (one, large)]
    assert summaries[0] | {"seconds": 0} == summaries[1] | {"seconds": 0}
