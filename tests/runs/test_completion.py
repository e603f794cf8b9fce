"""Completion in the shell: what it answers, and that it answers without importing torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tests.runs.runs import Command
from tools.completion import collected
from underfire.cli import commands
from underfire.cli.completion import NAMES

HEAVY = ("torch", "numpy", "PIL", "sklearn", "pyarrow", "underfire.attacks", "underfire.cli.commands")
QUESTION = f"""
import atexit, sys
found = lambda: sys.stderr.write(' '.join(name for name in {HEAVY!r} if name in sys.modules))
atexit.register(found)
from underfire.cli import main
main()
"""


def ask(words: str, place: int | None = None, path: Path | None = None, **more: str) -> list[str]:
    """Asks as bash does about the last of ``words``, or about the word at ``place``."""
    asked = {"_UNDERFIRE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(place or words.count(" "))}
    sources = os.pathsep.join([str(path or ""), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", QUESTION],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | asked | more | {"PYTHONPATH": sources},
    )
    assert done.stderr == ""
    return [line for line in done.stdout.splitlines() if line]


def test_the_file_of_names_is_up_to_date() -> None:
    assert NAMES.read_text(encoding="utf-8") == collected(), "make it again: python -m tools.completion"


ANSWERS = {
    "underfire ": [
        *(
            "demo",
            "attack",
            "run",
            "status",
            "explain",
            "check",
            "audit",
            "report",
            "export",
            "transfer",
            "reproduce",
            "list",
        ),
        "train",
        "detect",
    ],
    "underfire detect ": ["fit", "score", "evaluate"],
    "underfire detect fit --detector map": ["map-agreement", "map-squeezing", "map-stability", "maps", "maps:product"],
    "underfire tr": ["transfer", "train"],
    "underfire train ": ["classifier", "rts", "aid", "robust"],
    "underfire list ": ["names", "presets"],
    "underfire attack --classi": ["--classifier"],
    "underfire attack --classifier imagenet": ["imagenet-lite0", "imagenet-lite1", "imagenet-lite2"],
    "underfire check --data photos --classifier timm": ["timm:"],
    "underfire attack --interpreter grad": ["grad", "gradcam", "gradcam++"],
    "underfire attack --interpreter cam,mask:q": ["cam,mask:quick"],
    "underfire attack --read-with ig,lr": ["ig,lrp", "ig,lrp:z+"],
    "underfire attack --attack adv": ["adv2", "advedge", "advedge+"],
    "underfire attack --data sc": ["scenes", "scenes:train", "scenes:test"],
    "underfire attack --data=ph": ["photos"],
    "underfire attack --variant ": ["paper", "published"],
    "underfire export --format l": ["latex"],
    "underfire train classifier --recipe dig": ["digits-resnet"],
    "underfire train aid --recipe a": ["adv2", "auto"],
    "underfire train robust --recipe int-": ["int-joint", "int-ce", "int-adv"],
    "underfire attack --data ./fol": [],
}


@pytest.mark.parametrize("words", ANSWERS)
def test_answers(words: str) -> None:
    assert ask(words) == ANSWERS[words]


def test_names_that_bash_has_cut() -> None:
    """bash cuts words at colons and equals signs, and keeps what stands before them."""
    assert ask("underfire attack --data scenes : t") == ["train", "test"]
    assert ask("underfire attack --data scenes :") == ["train", "test"]
    assert ask("underfire attack --data = scenes : te") == ["test"]
    assert ask("underfire attack --data = ph") == ["photos"]
    assert ask("underfire attack --data scenes : test --attack adv", 7) == ["adv2", "advedge", "advedge+"]
    assert ask("underfire attack --interpreter cam,mask : o") == ["older"]


def test_parts_of_installed_packages_are_offered(tmp_path: Path) -> None:
    package = tmp_path / "mine-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text("[underfire.interpreters]\ncampfire = mine:Campfire\n")
    assert ask("underfire attack --interpreter camp", path=tmp_path) == ["campfire"]


def test_other_shells() -> None:
    question = {"_TYPER_COMPLETE_ARGS": "underfire attack --classifier imagenet-lite0 --data scenes:t"}
    found = ask("", 0, _UNDERFIRE_COMPLETE="complete_zsh", **question)
    assert "scenes:train" in " ".join(found).replace("\\", "")
    fish = question | {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    assert ask("", 0, _UNDERFIRE_COMPLETE="complete_fish", **fish) == ["scenes:train", "scenes:test"]


def test_bash_itself(tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    program = tmp_path / "underfire"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m underfire "$@"\n')
    program.chmod(0o755)
    script = """
    eval "$(_UNDERFIRE_COMPLETE=source_bash underfire)"
    COMP_WORDS=(underfire attack --data scenes : t); COMP_CWORD=5
    _underfire_completion underfire
    echo "${COMPREPLY[@]}"
    """
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [bash, "--norc", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PATH": path, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout == "train test\n", done.stderr


def test_the_options_that_install_it(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    monkeypatch.setenv("COLUMNS", "200")
    shown = command("--help").out
    assert "--install-completion" in shown
    assert "--show-completion" in shown
    environment = os.environ | {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    for option in ("--show-completion", "--install-completion"):
        done = subprocess.run(
            [sys.executable, "-m", "underfire", option, "bash"],
            capture_output=True,
            text=True,
            timeout=300,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        if option == "--show-completion":
            assert "_UNDERFIRE_COMPLETE=complete_bash" in done.stdout
    assert "_UNDERFIRE_COMPLETE=complete_bash" in (tmp_path / ".bash_completions" / "underfire.sh").read_text()


def test_every_name_is_known_to_the_command_line() -> None:
    """The options of values are options of commands."""
    known = json.loads(NAMES.read_text(encoding="utf-8"))
    options = {option for command in known["commands"].values() for option in command["options"]}
    assert {f"{option}=" for option in known["values"]} <= options
    live = typer.main.get_command(commands.app)
    assert set(live.commands) == {line.split()[0] for line in known["commands"] if line}  # type: ignore[attr-defined]
