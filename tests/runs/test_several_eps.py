"""Several eps in one run: each like a run of its own, with shared benign readings, and told apart everywhere."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from tests.runs.conftest import small_config
from tests.runs.runs import Command, Written, assert_same_run, options, without_seconds
from underfire.attacks.limits import chance_of
from underfire.attacks.perturbations import eps_text, parse_eps
from underfire.errors import InputError, UnderfireWarning
from underfire.reports.account import accounts_of, labels_of
from underfire.reports.exports.maps import write_maps
from underfire.reports.figure import write_figure
from underfire.reports.page import write_page
from underfire.runs import Run, RunConfig, comparison, run_attack
from underfire.runs.results import write_results

RADII = {"8/255": 8 / 255, "0.2": 0.2}


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Two radii, two interpreters by themselves, two shards."""
    folder = tmp_path_factory.mktemp("several")
    config = small_config(interpreters=("cam", "grad"), each=True, eps="8/255,0.2", count=4, steps=(2, 4))
    run_attack(config, folder, batch_size=3)
    return Written(folder)


def stripped(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without time, and without what names cells and files."""
    return [{k: v for k, v in row.items() if k not in ("cell", "image_file")} for row in without_seconds(rows)]


def test_labels_hold_the_eps(several: Written) -> None:
    attacks = [f"adv2-{name}-eps{eps}" for name in ("cam", "grad") for eps in ("8of255", "0.2")]
    assert list(several.keys) == [
        *("clean", "bim-eps8of255", "bim-eps0.2", *attacks, "noise-eps8of255", "noise-eps0.2")
    ]
    assert len(set(several.keys.values())) == len(several.keys)


def test_each_eps_is_as_in_a_run_of_its_own(several: Written, tmp_path: Path) -> None:
    run = Run(several.folder)
    for text, eps in RADII.items():
        folder, end = tmp_path / str(eps), f"eps{text.replace('/', 'of')}"
        config = small_config(interpreters=("cam", "grad"), each=True, eps=eps, count=4, steps=(2, 4))
        run_attack(config, folder)
        alone = Written(folder)
        assert "by_eps" not in alone.summary
        pairs = {label: f"{label}-{end}" for label in alone.keys if label != "clean"} | {"clean": "clean"}
        for ours, theirs in pairs.items():
            assert alone.keys[ours] == several.keys[theirs]
            assert alone.pictures(ours) == several.pictures(theirs)
            assert all((row["eps"] == eps) is (ours != "clean") for row in several.rows if row["cell"] == theirs)
            for name in ("cam", "grad"):
                assert stripped(alone.of_cell(ours, name)) == stripped(several.of_cell(theirs, name))
        (found,) = (part for part in several.summary["by_eps"] if part["eps"] == eps)
        for key in ("joint_success", "joint_success_threshold"):
            assert found[key] == alone.summary[key]
        for name in ("cam", "grad"):
            assert found["interpreters"][name]["attacks"].keys() == {"clean", "noise", "bim", "adv2"}
            expected = Run(folder).column(f"adv2-{name}", name, "joint_success").tolist()
            assert run.column(f"adv2-{name}-{end}", name, "joint_success").tolist() == expected
    assert several.summary["attack"] == "adv2"
    assert several.summary["each"] is True
    assert "joint_success" not in several.summary


def test_tables_and_pages_tell_the_eps_apart(several: Written, tmp_path: Path) -> None:
    accounts = accounts_of(Run(several.folder))
    names = [f"adv2 at {eps} on digits-resnet, {name}" for name in ("cam", "grad") for eps in RADII]
    assert labels_of(accounts) == names
    for account, eps in zip(accounts, [*RADII, *RADII], strict=True):
        assert list(account.part.names.values()) == [
            "clean",
            *(f"{each} at {eps}" for each in ("noise", "bim", "adv2")),
        ]
        assert account.noise_size == RADII[eps]
        limits = account.part.mean_limit(account.part.attacked[0])
        (found,) = (part for part in several.summary["by_eps"] if part["eps"] == RADII[eps])
        assert limits == found["joint_success_threshold"][account.part.attacked[0]]["map_l1_below"]
    text = write_page([several.folder], tmp_path / "page.html").read_text()
    for name in names:
        assert f"<h3><bdi>{name}</bdi></h3>" in text  # of the remarks
        eps, read = name.split(" at ")[1].split(" on ")[0], name.rsplit(" ", 1)[1]
        assert f"<bdi>{read}, adv2 at {eps}</bdi></span>" in text  # of the bars


def test_a_shared_cell_has_no_chance_control_of_one_eps(several: Written, tmp_path: Path) -> None:
    """Regression: clean rows had the chance control of the eps that came last."""
    run = Run(Path(shutil.copytree(several.folder, tmp_path / "run")))
    first, second, *_ = run.comparisons
    for part, limit in ((first, 0.0), (second, 2.0)):  # nothing passes, and everything does
        part.limits = {"cam": replace(part.limits["cam"], values=np.full(4, limit))}
    write_results(run)
    rows = [row for row in pq.read_table(run.path / "results.parquet").to_pylist() if row["interpreter"] == "cam"]
    for label, expected in (("clean", None), (first.cell.label, 0), (second.cell.label, 1)):
        found = [row for row in rows if row["cell"] == label and row["correct_before"]]
        assert [row["chance_other_map"] for row in found] == [expected] * 4
        assert [row["chance_average_map"] for row in found] == [expected] * 4
        assert not any(row["joint_success"] for row in found if label == "clean")
        values = run.column(label, "cam", "chance_average_map")
        assert np.isnan(values).all() if expected is None else (values == expected).all()


def test_the_chance_control_is_made_once(several: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all eps, and for the page, the figure and the tables of one run."""
    made: list[Any] = []
    monkeypatch.setattr(comparison, "chance_of", lambda *given: made.append(given) or chance_of(*given))
    run = Run(several.folder)
    first = write_page([run], tmp_path / "first" / "page.html").read_text()
    assert len(made) == len(run.interpreters) == 2
    write_figure([run], tmp_path / "figure.png")
    assert run.summary() == several.summary
    assert len(made) == 2
    assert write_page([several.folder], tmp_path / "second" / "page.html").read_text() == first
    assert len(made) == 4


def test_several_eps_against_all_interpreters_at_once(tmp_path: Path, command: Command) -> None:
    ended = command(*options(interpreter="cam,grad", eps=["8/255", "0.2"], count=2, out=tmp_path / "run"))
    assert ended.code == 0, ended.err
    written = Written(tmp_path / "run")
    assert [cell for cell in written.keys if cell.startswith("adv2")] == ["adv2-eps8of255", "adv2-eps0.2"]
    assert written.run["configuration"]["eps"] == [8 / 255, 0.2]
    assert [list(part["joint_success_all"]) for part in written.summary["by_eps"]] == [["adv2", "bim"]] * 2
    assert all(f"from adv2 at {eps} and" in " ".join(ended.out.split()) for eps in RADII)


def test_a_resumed_run_ends_like_one_that_was_not_interrupted(several: Written, tmp_path: Path) -> None:
    config = RunConfig.from_values(several.run["configuration"])
    run_attack(config, tmp_path / "run", batch_size=3)
    for label in ("adv2-cam-eps0.2", "noise-eps8of255"):
        (tmp_path / "run" / "cells" / several.keys[label] / "000001.parquet").unlink()
    record = (tmp_path / "run" / "run.json").read_text().replace('"finished": true', '"finished": false')
    (tmp_path / "run" / "run.json").write_text(record)
    with pytest.warns(UnderfireWarning, match=r"000001\.parquet is missing \(part 2 of adv2-cam-eps0\.2\)"):
        run_attack(config, tmp_path / "run", resume=True)
    assert_same_run(Written(tmp_path / "run"), several)


def test_a_config_file_may_hold_several(tmp_path: Path, command: Command) -> None:
    for line in ('eps = "2/255,4/255"', 'eps = ["2/255", "4/255"]', f"eps = [{2 / 255}, {4 / 255}]"):
        file = tmp_path / "run.toml"
        file.write_text(f'data = "digits:test"\nclassifier = "digits-resnet"\n{line}\n')
        ended = command("attack", "--config", file, "--dump-config")
        assert f"eps = [{2 / 255}, {4 / 255}]" in ended.out, ended.err


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"eps": "2/255,x"}, "eps is 'x'; expected a number or a fraction"),
        ({"eps": "2/255,,4/255"}, "eps is ''; expected a number or a fraction"),
        ({"eps": "2/255,8"}, "eps is 8; expected 0 < eps <= 1.* Did you mean 8/255"),
        ({"eps": "2/255,0.001"}, "eps is 0.001, less than one 8-bit level"),
        ({"eps": "2/255,4/255,2/255"}, "eps has 2/255 twice in 2/255, 4/255, 2/255; each can be given once"),
        ({"eps": (0.2, 51 / 255)}, "eps has 0.2 twice"),
        ({"eps": ()}, "eps is empty; expected at least one"),
        ({"eps": "2/255,4/255", "attack": "cw"}, "eps is 0.0078.*, and cw has no ball"),
        ({"eps": "2/255,4/255", "perturbation": "stadv"}, "eps is 0.0078.*, and stadv has no ball"),
    ],
)
def test_errors_name_the_bad_part(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        small_config(**changes)


def test_runs_of_versions_without_the_column_are_read(several: Written, tmp_path: Path) -> None:
    """Their cells do not have an eps either."""
    run_attack(small_config(), tmp_path / "run")
    now = Written(tmp_path / "run")
    record = now.run | {"cells": [{k: v for k, v in cell.items() if k != "eps"} for cell in now.run["cells"]]}
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    for file in (tmp_path / "run" / "cells").glob("*/*.parquet"):
        pq.write_table(pq.read_table(file).drop_columns(["eps"]), file)
    run = Run(tmp_path / "run")
    assert run.summary() == now.summary
    assert run.rows(["eps", "image_id"]).column_names == ["eps", "image_id"]
    assert run.rows()["eps"].type == pa.float64()
    assert run.row("adv2", "cam", run.image_ids[0])["attack"] == "adv2"


@given(st.one_of(st.floats(0.004, 1), st.integers(1, 255).map(lambda levels: levels / 255)))
def test_the_text_of_an_eps_is_its_own(eps: float) -> None:
    assert parse_eps(eps_text(eps)) == eps


def test_texts_of_usual_eps() -> None:
    assert [eps_text(eps) for eps in (8 / 255, 0.031, 0.2, 1.0)] == ["8/255", "0.031", "0.2", "1.0"]


@pytest.mark.parametrize("eps", [float("nan"), float("inf")])
def test_no_number_is_no_eps(eps: float) -> None:
    with pytest.raises(InputError, match=f"eps is {eps}"):
        RunConfig.create(data="digits:test", classifier="digits-resnet", eps=eps)


def test_a_noise_that_does_not_follow_the_eps(tmp_path: Path) -> None:
    """Regression: two radii with one size of noise shared a control, and the second was not found at the end."""
    (tmp_path / "own.py").write_text(
        "from dataclasses import dataclass\n"
        "import underfire as uf\n"
        "@dataclass(frozen=True)\n"
        "class Own(uf.attacks.BIM):\n"
        "    name = 'own'\n"
        "    noise_size = 0.1\n"
        "    def alone(self):\n"
        "        return self\n"
    )
    config = small_config(perturbation=f"{tmp_path / 'own.py'}:Own", eps="8/255,0.2", count=2, steps=(1, 2))
    run_attack(config, tmp_path / "run")
    run = Run(tmp_path / "run")
    assert [part.labels["noise"] for part in run.comparisons] == ["noise-eps8of255", "noise-eps0.2"]
    first, second = (run.column(part.labels["noise"], "cam", "map_l1") for part in run.comparisons)
    assert list(first) == list(second)


def test_maps_that_several_eps_want_are_exported_once(tmp_path: Path) -> None:
    """Regression: the file held each wanted map twice under one name, and could not be read."""
    run_attack(small_config(target_map="patch", eps="8/255,0.2", count=2, steps=(1, 2)), tmp_path / "run")
    write_maps(Run(tmp_path / "run"), tmp_path / "maps.safetensors")
    written = load_file(tmp_path / "maps.safetensors")
    assert len([name for name in written if name.startswith("wanted/cam/")]) == 2
