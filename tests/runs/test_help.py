"""The help of every command: nothing lost in markup, and readable at 80 columns."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import underfire as uf
from tests.runs.runs import Command, Written, options
from underfire.cli import commands as cli
from underfire.runs import RunConfig


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    for name, inner in getattr(command, "commands", {}).items():
        yield from commands(inner, (*words, name))


COMMANDS = dict(commands(typer.main.get_command(cli.app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_at_80_columns(command: Command, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = command(*words, "--help").out.splitlines()
    assert max(map(len, lines)) <= 80
    for line in lines:
        text = line.strip("│ ")
        assert not re.search(r" [.]$|…|\\", text), line


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_says_all_of_it(command: Command, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Every word of every option's help is there, those in brackets too."""
    monkeypatch.setenv("COLUMNS", "400")
    shown = " ".join(command(*words, "--help").out.split())
    for option in COMMANDS[words].params:
        help = (option.help or "").replace("\\[", "[")
        assert " ".join(help.split()) in shown


def test_brackets_in_a_description_are_shown(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: "The file has  for all runs; lists in , of which every combination is a run; [] and []"."""
    monkeypatch.setenv("COLUMNS", "400")
    shown = " ".join(command("run", "--help").out.split())
    for part in (
        "The file has [settings] for all runs",
        "lists in [grid], of which",
        "[[include]] and [[exclude]] for further",
        "detectors = [FOLDER, ...] score",
        "campaigns.md: [settings] for all runs, lists in [grid], then [[include]], [[exclude]] and [[change]].",
    ):
        assert part in shown
    assert "[bold]" not in shown
    assert "'underfire[photos]'" in command("demo", "--help").out


def test_options_without_a_default_of_their_own_say_what_happens(command: Command) -> None:
    shown = " ".join(re.sub("[│╭╰]", " ", command("attack", "--help").out).split())
    for part in (
        "[default: cam]",
        "[default: all]",
        "such as 400,1200",
        "[default: only for pgd and bim on Grad and its family; never",
    ):
        assert part in shown


def test_paragraphs_of_help_are_filled(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = command("attack", "--help").out.split("╭")[0].splitlines()
    paragraph = [line.strip() for line in shown if line.strip()][3:]
    assert all(len(line) > 60 for line in paragraph[:-1]), paragraph


def test_help_has_room(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    line = next(line for line in command("attack", "--help").out.splitlines() if "--precision" in line)
    assert len(line) - line.index("Precision of") >= 40


def test_the_version(command: Command) -> None:
    ended = command("--version")
    assert (ended.code, ended.out) == (0, f"underfire {uf.__version__}\n")


def test_interpreters_with_commas(command: Command, tmp_path: Path) -> None:
    assert command(*options(interpreter="cam, grad", count=1, steps="1,1", out=tmp_path)).code == 0
    assert set(Written(tmp_path).summary["interpreters"]) == {"cam", "grad"}
    where = {"data": "digits:test", "classifier": "digits-resnet"}
    both = RunConfig.create(**where, interpreters=["cam,lrp:z+", "rts:my,folder"])
    assert both.interpreters == ("cam", "lrp:z+", "rts:my,folder")
    assert RunConfig.create(**where).interpreters == ("cam",)


def test_resuming_what_is_not_there_is_said(command: Command, tmp_path: Path) -> None:
    ended = command(*options(count=1, steps="1,1", out=tmp_path / "new", resume=True))
    assert ended.code == 0
    assert "note: there is no run in" in ended.said
    again = command(*options(count=1, steps="1,1", out=tmp_path / "new", resume=True))
    assert "note" not in again.said


def test_early_stop_has_two_flags(command: Command, tmp_path: Path) -> None:
    ended = command(*options(early_stop=True, no_early_stop=True, out=tmp_path / "out"))
    assert (ended.code, "contradict" in ended.said) == (2, True)
    small = {"count": 1, "steps": "1,1"}
    for changes, expected in (({"early_stop": True}, True), ({"no_early_stop": True}, False), ({}, None)):
        out = tmp_path / str(expected)
        assert command(*options(**changes, **small, out=out)).code == 0
        assert Written(out).run["configuration"]["early_stop"] is expected
