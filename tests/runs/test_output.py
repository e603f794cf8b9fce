"""What the command line prints."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import underfire as uf
from tests.runs.conftest import small_config
from tests.runs.runs import Command, Written, options, process, tables
from underfire.cli import main
from underfire.errors import StoppedError, UnderfireWarning
from underfire.reports.table import summary_table
from underfire.reports.words import points, with_interval
from underfire.runs import Run, run_attack


def strict(text: str) -> Any:
    """JSON as the standard has it: no NaN, no infinity."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_json_is_all_that_stdout_holds(command: Command, tmp_path: Path) -> None:
    ended = command(*options(count=2, steps="1,1", out=tmp_path, json=True))
    assert ended.code == 0
    assert strict(ended.out) == Written(tmp_path).summary
    assert next(iter(strict(ended.out))) == "joint_success"
    again = command(*options(count=2, steps="1,1", out=tmp_path, json=True, resume=True))
    assert strict(again.out) == strict(ended.out)


def test_json_where_nothing_succeeds(small: Written) -> None:
    text = (small.folder / "summary.json").read_text()
    assert strict(text)["interpreters"]["cam"]["attacks"]["adv2"]["confidence_of_successes"] == {
        "mean": None,
        "low": None,
        "high": None,
        "n": 0,
    }
    strict((small.folder / "run.json").read_text())


def test_list_names_what_there_is(command: Command) -> None:
    known = strict(command("list", "--json").out)
    assert "digits-resnet" in known["classifiers"]
    assert known["interpreters"] == list(uf.interpreters.REGISTRY)
    assert known["data_of_classifiers"]["scenes-resnet"] == ["scenes:train", "scenes:test"]
    assert known["attacks"] == [
        *("adv2", "advedge", "advedge+", "auto", "adaptive", "adaptive-auto", "square"),
        *("pgd", "bim", "cw", "stadv"),
    ]
    assert "digits-resnet" in known["recipes"]
    table = command("list").out
    assert all(name in table for names in known.values() for name in names)
    assert max(map(len, table.splitlines())) <= 80
    assert "scenes-resnet, scenes-densenet, scenes-vit  (--data scenes:test)" in table
    for prefixed in ("torchvision:", "timm:", "hf:", "mask:older", "lrp:z+", "captum:METHOD"):
        assert prefixed in table


def test_list_explains_the_presets(command: Command) -> None:
    from underfire.attacks import KINDS, PERTURBATIONS, VARIANTS

    found = strict(command("list", "presets", "--json").out)
    assert list(found["attacks"]) == list(KINDS)
    assert set(found["perturbations"]) == set(found["schedules"]) == set(PERTURBATIONS)
    assert found["schedules"]["pgd"]["cam"]["warmup"] == PERTURBATIONS["pgd"].rows["cam"].warmup
    families = [name for names in found["families"].values() for name in names]
    assert sorted(families) == sorted([*uf.interpreters.REGISTRY, "captum:METHOD"])
    assert "captum:METHOD" in found["families"]["grad"]
    paper, published = VARIANTS["paper"], VARIANTS["published"]
    differ = {field.name for field in fields(paper) if getattr(paper, field.name) != getattr(published, field.name)}
    assert {each["field"] for each in found["variants"]} == (differ - {"name"}) | {None}
    shown = command("list", "presets").out
    assert max(map(len, shown.splitlines())) <= 80
    words = " ".join(shown.split())
    for part in ("advedge+", "pgd, bim", "400,1200", "5 -> 10", "cross entropy", "paper", "published", "--edge-scope"):
        assert part in words
    assert "Python: Variant.keep_last" in words
    for part in found["variants"]:
        assert part["alone"].startswith(("--", "Python: ")), part
    for part in found["departures"]:
        assert part["topic"].split()[0] in words
        assert part["theirs"] != part["ours"]
    assert command("list", "nosuch").code == 2


def test_the_presets_are_all_of_the_objective(command: Command) -> None:
    """Regression: weights of 0.05 and 10 stood side by side, without a word that one is of a sum."""
    from underfire.attacks import PERTURBATIONS

    found = strict(command("list", "presets", "--json").out)["schedules"]
    for perturbation, part in PERTURBATIONS.items():
        for family, row in part.rows.items():
            shown = found[perturbation][family]
            assert shown["map_loss"] == f"{row.reduction} of squares"
            expected = (row.prediction, row.penalty, row.presence, row.confidence, row.smoothing)
            names = ("prediction", "penalty", "presence")
            values = [shown[f"{name}_weight"] for name in names]
            assert (*values, shown["preferred_confidence"], shown["label_smoothing"]) == expected
    assert found["cw"]["mask"]["margin_at_least"] == -5
    assert found["pgd"]["mask"]["margin_at_least"] is None
    assert found["pgd"]["mask"]["step_size"] == {
        "prediction": 0.05,
        "map_at_most": [0.08, 0.04],
        "in": "L2 at 224 x 224",
    }
    assert (found["cw"]["cam"]["rule"], found["cw"]["cam"]["step_size"]) == ("adam", 0.01)
    lines = [" ".join(line.split()) for line in command("list", "presets").out.splitlines()]
    assert "family steps map weight map loss class loss cost step" in lines
    for perturbation, line in (
        ("pgd, bim:", "grad 300,704 0.001, 0.004, 0.01, 0.05 sum CE - 1/255"),
        ("pgd, bim:", "mask 400,1000 5 -> 10 mean margin - two"),
        ("cw:", "cam 300,1500 5 -> 10 mean 2 CE 1 0.01"),
        ("stadv:", "grad 450,704 0.003, 0.01, 0.05, 0.2 sum 2 CE 0.0005 0.01"),
        ("stadv:", "mask 400,1000 500 mean margin 0.004 0.005"),
    ):
        rows = lines[lines.index(perturbation) + 1 :]
        assert line in rows[: rows.index("")], line


def test_what_the_presets_say_of_a_variant_works() -> None:
    """The line of Python as it is shown."""
    from dataclasses import replace

    from underfire.attacks import VARIANTS, preset
    from underfire.cli.presets import ALONE

    space: dict[str, Any] = {"preset": preset, "replace": replace, "VARIANTS": VARIANTS}
    exec(f"made = {ALONE.splitlines()[-1].strip()}", space)
    assert space["made"].settled_variant == replace(VARIANTS["paper"], keep_last=True)


@pytest.mark.parametrize(
    ("words", "example"),
    [
        (["attack"], "underfire attack --data scenes:test --classifier scenes-resnet --interpreter cam,grad"),
        (["attack"], "--classifier my_model.py:build"),
        (["train", "classifier"], "underfire train classifier --recipe"),
        (["list"], "underfire list --json"),
    ],
)
def test_help_shows_examples(command: Command, words: list[str], example: str) -> None:
    ended = command(*words, "--help")
    assert ended.code == 0
    assert "Example" in ended.out
    assert example in " ".join(ended.out.split())


def test_without_a_command_there_is_help(command: Command) -> None:
    for words in ([], ["train"]):
        ended = command(*words)
        assert "Usage" in ended.out + ended.err
        assert ended.err.count("error") == 0


def test_80_columns_are_enough(tmp_path: Path) -> None:
    words = options(interpreter=["gradcam", "grad"], count=2, steps="1,1", out=tmp_path / "out")
    running = process(*words, COLUMNS="80")
    out, err = running.communicate(timeout=120)
    assert running.returncode == 0, err
    lines = (out + err).splitlines()
    assert max(len(line) for line in lines) <= 80
    assert "…" not in out
    summary = Written(tmp_path / "out").summary
    for name in ("gradcam", "grad"):
        for attack in ("clean", "noise", "bim", "adv2"):
            group = summary["interpreters"][name]["attacks"][attack]
            shown = [
                f"{group[column]['mean']:.3f}" for column in ("joint_success", "success", "map_l1", "map_iou", "ssim")
            ]
            assert [attack, *shown] in tables(lines)[name], (name, attack, out)
    assert lines[0].startswith("Joint success: ")


def test_of_several_maps_the_table_begins_with_all(full: Written, capsys: pytest.CaptureFixture[str]) -> None:
    Console(width=80, file=sys.stdout).print(summary_table(Run(full.folder)))
    shown = " ".join(capsys.readouterr().out.split())
    ours, control = (with_interval(full.summary["joint_success_all"][attack]) for attack in ("adv2", "bim"))
    line = f"Joint success: {ours} of 13 images got another class from adv2 and kept the maps of cam and grad at once"
    gap = points(full.summary["joint_success_all_gap"])
    assert shown.startswith(f"{line} (bim: {control}; difference {gap}): few images")
    assert shown.count("other map") == shown.count("average map") == 2
    for name in ("cam", "grad"):
        assert f"other map {full.summary['chance'][name]['other_map']['mean']:.3f}" in shown


@pytest.mark.parametrize(("attack", "control"), [("adv2", "bim"), ("bim", "pgd"), ("pgd", None)])
def test_a_joint_attack_is_called_so(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, attack: str, control: str | None
) -> None:
    """Regression: bim, with pgd beside it, was called the joint one."""
    summary = run_attack(small_config(attack=attack), tmp_path)
    assert summary["control"] == control
    Console(width=80, file=sys.stdout).print(summary_table(Run(tmp_path)))
    said = "prediction alone stands beside the joint one" in " ".join(capsys.readouterr().out.split())
    assert said is (attack == "adv2")


def test_the_table_leaves_nothing_out_of_a_long_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A name that is wider than what the numbers leave stands whole; no number is cut."""
    file = tmp_path / "named.py"
    file.write_text("from underfire.interpreters import CAM\n\n\nclass Named(CAM):\n    name = 'x' * 30\n")
    run_attack(small_config(interpreters=(f"{file}:Named",)), tmp_path / "run")
    Console(width=80, file=sys.stdout).print(summary_table(Run(tmp_path / "run")))
    out = capsys.readouterr().out
    assert max(len(line) for line in out.splitlines()) <= 80
    assert "…" not in out
    assert "-0.000" not in out.replace("0.000-0.000", "")
    assert "\n" + "x" * 30 + "\n" in out


def test_what_speaks_against_the_numbers_is_said(command: Command, tmp_path: Path) -> None:
    """As on the page, and nothing that speaks for them."""
    said = " ".join(command(*options(count=3, steps="1,1", out=tmp_path)).out.split())
    assert "! Only 3 images were attacked" in said
    assert "! The attack ran 1 + 1 steps instead of the published schedule. These are very few" in said
    assert "Everything was judged on the saved" not in said


def test_a_warning_is_said_once(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: a campaign that goes on said for each of its runs that accuracy is near chance."""

    def warns(*_: Any, **__: Any) -> None:
        for text in ("the first", "the second", "the first"):
            with warnings.catch_warnings():  # forgets which warnings were shown, as libraries do in each run
                warnings.simplefilter("default")
                warnings.warn(text, UnderfireWarning, stacklevel=1)
        raise StoppedError("enough.")

    monkeypatch.setattr("underfire.campaigns.runner.perform", warns)
    for _ in range(2):  # each command says it anew
        said = command(*options(out=tmp_path / "run")).err
        assert (said.count("the first"), said.count("the second")) == (1, 1)


@pytest.mark.parametrize("more", [{}, {"resume": True}, {"overwrite": True}])
def test_a_stopped_attack_says_how_to_go_on(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]
) -> None:
    def stopped(*_: Any, **__: Any) -> None:
        raise StoppedError("stopped: 3 shards left to attack.")

    monkeypatch.setattr("underfire.campaigns.runner.perform", stopped)
    given = options(out=tmp_path / "a folder", **more)
    monkeypatch.setattr(sys, "argv", ["underfire", *given])
    ended = command(*given)
    assert ended.code == 130
    said = " ".join(ended.err.split())
    assert "3 shards left to attack. Go on with: underfire attack" in said
    assert "/a folder'" in said.replace("' ", "'")
    assert said.count("--resume") == 1
    assert "--overwrite" not in said


@pytest.mark.parametrize(
    ("words", "goes_on"),
    [
        (("demo", "--count", "2"), False),
        (("check", "--data", "photos"), False),
        (("attack", "--count", "2"), True),
        (("train", "rts", "--out", "x"), True),
        (("detect", "fit", "--out", "x"), False),
    ],
)
def test_after_ctrl_c_only_commands_that_can_go_on_say_so(
    words: tuple[str, ...], goes_on: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Regression: a stopped demo named --resume, which it does not have."""

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("typer.Typer.__call__", interrupted)
    monkeypatch.setattr(sys, "argv", ["underfire", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 130
    said = capsys.readouterr().err
    assert ("--resume goes on" in said) is goes_on
    assert ("the next start begins anew" in said) is not goes_on


def test_values_without_commas_get_a_hint(command: Command, tmp_path: Path) -> None:
    ended = command("attack", "--data", "digits:test", "--interpreter", "cam", "grad", "--out", tmp_path / "run")
    assert ended.code == 2
    assert "commas between them: --interpreter cam,grad" in " ".join(ended.err.split())
