"""Runs of earlier versions (folder format 1) are read with the same numbers, and never mixed with those of today."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from safetensors.torch import load_file, save_file

from tests.runs.conftest import small_config
from tests.runs.former import CONTROL, as_before
from tests.runs.runs import Written, content
from underfire.errors import StoreError
from underfire.reports.account import accounts_of
from underfire.reports.curves import step_charts
from underfire.reports.trust import cautions
from underfire.runs import Run, run_attack
from underfire.runs.cell_folder import CellFolder
from underfire.runs.folder import Folder
from underfire.runs.results import write_results


@pytest.fixture(scope="module")
def patch(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Toward a patch, with a reader and images that are not attacked, in two shards."""
    folder = tmp_path_factory.mktemp("patch")
    run_attack(small_config(target_map="patch", target_class="9", count=3, readers=("grad",)), folder, batch_size=2)
    return Written(folder)


def former(written: Written, tmp_path: Path) -> Run:
    return Run(as_before(written, tmp_path / "former"))


def renamed(name: str | None, control: str | None) -> str | None:
    return CONTROL if name == control else name


@pytest.mark.parametrize("which", ["full", "patch"])
def test_the_numbers_are_the_same(
    which: str, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apart from the noise draws: an earlier version made one for each image."""
    written: Written = request.getfixturevalue(which)  # before the patch, because other tests use this run, too
    monkeypatch.setattr(CellFolder, "more_noise", Folder.more_noise)
    now, before = Run(written.folder), former(written, tmp_path)
    control = now.comparisons[0].control
    assert (now.format, before.format) == (3, 1)
    assert before.interpreters == now.interpreters
    assert before.image_ids == now.image_ids
    assert before.images == now.images
    assert before.configuration == now.configuration
    assert list(before.measures) == list(now.measures)
    (ours,), (theirs,) = now.comparisons, before.comparisons
    assert (theirs.control, theirs.attack) == (CONTROL, "adv2")
    assert (theirs.attacked, theirs.readers, theirs.keeps, theirs.title) == (
        ours.attacked,
        ours.readers,
        ours.keeps,
        ours.title,
    )
    for name in now.interpreters:
        for role in ("clean", "noise", "control", "attack"):
            for measure in (*now.measures, "joint_success", "joint_success_all"):
                column = measure if isinstance(measure, str) else measure.name
                assert np.array_equal(
                    ours.column(role, name, column), theirs.column(role, name, column), equal_nan=True
                )
            for image_id in now.image_ids:
                assert np.array_equal(ours.map(role, name, image_id), theirs.map(role, name, image_id))
        for order, image_id in enumerate(now.image_ids[:2]):
            mine, other = ours.case(name, order), theirs.case(name, order)
            assert (mine.verdict, mine.distance) == (other.verdict, other.distance)
            assert all((ours.image(mine.rows[r]) == theirs.image(other.rows[r])).all() for r in mine.rows)
            assert np.array_equal(ours.wanted(name, image_id), theirs.wanted(name, image_id))
    assert in_old_names(now.summary(), control) == before.summary()
    if which == "full":
        assert before.summary()["joint_success_threshold"]["cam"]["noise_draws"] == 1
        assert any("rests on one noise draw per image" in text for text in cautions(before))


def in_old_names(summary: dict[str, Any], control: str | None) -> dict[str, Any]:
    text = json.dumps(summary)
    return dict(json.loads(text.replace(f'"{control}"', f'"{CONTROL}"')))


def test_what_a_former_run_lacks_is_named(full: Written, tmp_path: Path) -> None:
    assert Run(full.folder).lacks == ()
    run = former(full, tmp_path)
    assert any("trace holds the mean" in phrase for phrase in run.lacks)
    assert any("logits" in phrase for phrase in run.lacks)
    with pytest.raises(StoreError, match="written by an earlier version"):
        write_results(run)


def test_columns_of_later_versions_are_null(full: Written, tmp_path: Path) -> None:
    """Regression: a column that format 1 does not have was a KeyError of pyarrow."""
    run = former(full, tmp_path)
    found = run.rows(["eps", "position", "cell", "attack"], cell="adv2")
    assert found.column_names == ["eps", "position", "cell", "attack"]
    assert found["eps"].type == pa.float64()
    assert (found["eps"].null_count, found["position"].null_count) == (len(found), len(found))
    assert set(found["cell"].to_pylist()) == {"adv2"}
    assert set(Run(full.folder).rows().column_names) <= {*run.rows().column_names}


@pytest.mark.parametrize("lost", ["all", "one"])
def test_wanted_maps_are_there_for_all_images_or_for_none(patch: Written, tmp_path: Path, lost: str) -> None:
    """The first versions did not keep them, also where one began a run that a later one ended."""
    folder = as_before(patch, tmp_path / "former")
    maps = load_file(folder / "maps.safetensors")
    first = patch.of("adv2")[0]["image_id"]
    gone = "wanted/" if lost == "all" else f"wanted/cam/{first}"
    save_file({k: v for k, v in maps.items() if not k.startswith(gone)}, folder / "maps.safetensors")
    run = Run(folder)
    assert all(run.wanted("adv2", "cam", image_id) is None for image_id in run.image_ids)


def test_masks_and_courses_of_a_former_run(tmp_path: Path) -> None:
    config = small_config(data="scenes:test", classifier="scenes-resnet", count=1)
    run_attack(config, tmp_path / "now")
    written = Written(tmp_path / "now")
    now, before = Run(written.folder), former(written, tmp_path)
    assert now.has_masks
    assert before.has_masks
    for image_id in now.image_ids:
        assert np.array_equal(now.mask(image_id), before.mask(image_id))
        assert now.mask(image_id).any()
    trace = before.files.trace("adv2")
    assert trace is not None
    assert trace["map_l1"].to_pylist() == [row["map_l1"] for row in written.trace if row["attack"] == "adv2"]


def test_the_course_of_several_maps_is_a_mean_and_says_so(full: Written, patch: Written, tmp_path: Path) -> None:
    """Regression: the mean over all interpreters was drawn as the curve of the first."""
    run = former(full, tmp_path)
    (account,), (today,) = accounts_of(run), accounts_of(Run(full.folder))
    titles = [chart.title for chart in step_charts([account])]
    assert titles == ["Class reached, by step", "Map distance, by step, mean of cam and grad"]
    *_, cam, grad = step_charts([today])
    mean = step_charts([account])[1]
    for ours, *parts in zip(mean.lines, cam.lines, grad.lines, strict=True):
        assert np.allclose(ours.y, np.mean([part.y for part in parts], axis=0), atol=2e-5), "rounded"
    (account,) = accounts_of(Run(as_before(patch, tmp_path / "one")))
    assert [chart.title for chart in step_charts([account])][-1:] == ["Map distance, by step, cam"], "a reader has none"


def test_a_finished_run_resumes_to_its_summary(small: Written, tmp_path: Path) -> None:
    folder = as_before(small, tmp_path / "former")
    before = content(folder)
    assert run_attack(small_config(), folder, resume=True) == json.loads((folder / "summary.json").read_text())
    assert content(folder) == before
    with pytest.raises(StoreError, match=r"another run: eps was \[0\.2\], is \[0\.1\]"):
        run_attack(small_config(eps=0.1), folder, resume=True)


def test_an_unfinished_run_is_refused_and_can_be_overwritten(small: Written, tmp_path: Path) -> None:
    folder = as_before(small, tmp_path / "former")
    (folder / "shards").mkdir()
    for name in ("results.parquet", "maps.safetensors"):
        (folder / name).rename(folder / "shards" / f"000000.{name.partition('.')[2]}")
    (folder / "summary.json").unlink()
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"finished": False}))
    before = content(folder)
    with pytest.raises(
        StoreError, match=r"unfinished run of another version of underfire .*finish it with that version"
    ):
        run_attack(small_config(), folder, resume=True)
    assert content(folder) == before
    run_attack(small_config(), folder, overwrite=True)
    assert not (folder / "shards").exists()
    assert Written(folder).run["format"] == 3


def test_a_later_format_is_refused(small: Written, tmp_path: Path) -> None:
    folder = as_before(small, tmp_path / "later")
    record = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(record | {"format": 4}))
    expected = re.escape(
        f"the run in {folder} has folder format 4, and this version of underfire reads formats up to 3"
    )
    with pytest.raises(StoreError, match=f"{expected}: update underfire"):
        Run(folder)
    (folder / "run.json").write_text(json.dumps(record | {"format": 4, "finished": False}))
    with pytest.raises(StoreError, match="folder format 4, expected 3"):
        run_attack(small_config(), folder, resume=True)
