"""Where no terminal is, long commands say in plain lines what they do and how long it will take."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from underfire.cli.lines import Bars, Lines, status


class Clock:
    """A clock that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def console(terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=80)


def text(where: Console) -> str:
    assert isinstance(where.file, io.StringIO)
    return where.file.getvalue()


def test_lines_come_now_and_then() -> None:
    where, clock = console(), Clock()
    spoken = Lines(where, pause=10, clock=clock)
    for clock.now, words in ((1, "one"), (9.9, "two"), (10, "three"), (19, "four"), (25, "five [red]")):
        spoken.say(words)
    assert text(where) == "three\nfive [red]\n"


def test_a_short_command_prints_nothing() -> None:
    where = console()
    with status(where, "starting") as tell:
        tell("trying cam")
    assert text(where) == ""


def test_a_status_says_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lines, "say", lambda lines, words: lines.console.print(words))
    where = console()
    with status(where, "starting") as tell:
        tell("trying cam")
    assert text(where) == "trying cam\n"


def test_bars_say_how_far_they_are_and_how_long_it_will_take() -> None:
    clock = Clock()
    where = console()
    with Bars("{task.description}", console=where) as bars:
        bars.get_time = clock
        bars.lines = Lines(where, pause=30, clock=clock)
        task = bars.add_task("attacking", total=40)
        for clock.now, done in ((20, 8), (40, 16), (50, 20), (80, 32)):
            bars.update(task, completed=done)
    assert (
        text(where)
        == "attacking: 40 % (16 of 40), 0:40, about 1:00 left\nattacking: 80 % (32 of 40), 1:20, about 0:20 left\n"
    )


def test_nothing_is_left_at_the_end() -> None:
    """Maps may be read for long after the last step."""
    where, clock = console(), Clock()
    with Bars("{task.description}", console=where) as bars:
        bars.get_time = clock
        bars.lines = Lines(where, pause=20, clock=clock)
        task = bars.add_task("attacking", total=2)
        for clock.now, done in ((10, 1), (20, 2)):
            bars.update(task, completed=done)
    assert text(where) == "attacking: 100 % (2 of 2), 0:20\n"


def test_a_task_without_an_end_says_what_it_does() -> None:
    where = console()
    with Bars("{task.description}", console=where) as bars:
        bars.lines = Lines(where, pause=0)
        task = bars.add_task("beginning", total=None)
        bars.update(task, description="reading images")
        bars.update(task, description="audit", total=1.0, completed=0.5)
    assert text(where).splitlines()[0] == "reading images"
    assert text(where).splitlines()[1].startswith("audit: 50 %, 0:00")


def test_a_terminal_has_a_bar_and_no_lines() -> None:
    where = console(terminal=True)
    with Bars("{task.description}", console=where) as bars:
        bars.lines = Lines(where, pause=0)
        task = bars.add_task("attacking", total=40)
        bars.update(task, completed=16)
    assert "16 of 40" not in text(where)
