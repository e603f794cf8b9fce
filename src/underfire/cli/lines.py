"""Progress in plain lines, for files and pipes: where no terminal is, nothing can be drawn over."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import Progress, ProgressColumn, Task, TaskID
from rich.text import Text

PAUSE = 15.0
"""The number of seconds before the first line, and between two lines at least."""


class Lines:
    """Prints what is being done, now and then.

    Args:
        console: where lines are printed.
        pause: see ``PAUSE``.
        clock: tells the time in seconds.
    """

    def __init__(self, console: Console, pause: float = PAUSE, clock: Callable[[], float] = time.monotonic) -> None:
        self.console, self.pause, self.clock = console, pause, clock
        self.last = clock()

    def say(self, words: str) -> None:
        """Print a line, unless the last one is too recent."""
        if self.clock() - self.last >= self.pause:
            self.console.print(Text(words), soft_wrap=True)
            self.last = self.clock()


class Bars(Progress):
    """Bars on a terminal, lines elsewhere.

    Args:
        columns, console: as for rich's ``Progress``.
    """

    def __init__(self, *columns: str | ProgressColumn, console: Console) -> None:
        super().__init__(*columns, console=console, transient=True, disable=not console.is_terminal)
        self.lines = Lines(console)

    def update(self, task_id: TaskID, **changes: Any) -> None:
        """Change a task, as rich's ``Progress.update`` does, and print a line if there is no terminal."""
        super().update(task_id, **changes)
        if self.disable:
            self.lines.say(_in_words(self._tasks[task_id]))

    def stop(self) -> None:
        """Stop the display, if there is one: older versions of rich end a hidden one with an empty line."""
        if not self.disable:
            super().stop()


def _in_words(task: Task) -> str:
    if not task.total:
        return task.description
    done = "" if task.total == 1 else f" ({task.completed:.0f} of {task.total:.0f})"
    left = None if task.finished else task.time_remaining  # such as maps that are read after the last step
    rest = "" if left is None else f", about {_minutes(left)} left"
    return f"{task.description}: {task.percentage:.0f} %{done}, {_minutes(task.elapsed or 0)}{rest}"


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def status(console: Console, words: str) -> Iterator[Callable[[str], None]]:
    """Show what is being done: beside a moving sign on a terminal, in lines elsewhere.

    Yields:
        The function that takes the next words.
    """
    if console.is_terminal:
        with console.status(words) as shown:
            yield shown.update
    else:
        yield Lines(console).say
