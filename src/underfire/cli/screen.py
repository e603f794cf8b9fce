"""Progress bars, warnings and errors of commands. On stderr, so that stdout holds results alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text

from underfire.cli.lines import Bars
from underfire.errors import UnderfireWarning

if TYPE_CHECKING:
    from underfire.runs import Run

screen = Console(stderr=True)


class RunBars:
    """Shows selection and attack with the time that is left."""

    def __init__(self, progress: Progress, about: str = "") -> None:
        self.progress, self.about = progress, f" {about}" if about else ""
        self.work = f"attacking{self.about}"
        self.looking: Any = progress.add_task("reading images", total=None)
        self.attacking: Any = None

    def selecting(self, looked_at: int, total: int) -> None:
        self.progress.update(self.looking, completed=looked_at, total=total)

    def running(self, done: int, total: int) -> None:
        if self.attacking is None:
            self.progress.remove_task(self.looking)
            self.attacking = self.progress.add_task(self.work, total=total)
        self.progress.update(self.attacking, completed=done, total=total, description=self.work)

    def reading(self, what: str) -> None:
        self.progress.update(self.looking if self.attacking is None else self.attacking, description=what + self.about)


class OneRun:
    """Hears of a campaign with one run, and shows it as ``RunBars`` does."""

    def __init__(self, progress: Progress) -> None:
        self.bars = RunBars(progress)

    def begun(self, job: Any) -> None:
        pass

    def finished(self, job: Any) -> None:
        pass

    def failed(self, job: Any, failure: Any) -> None:
        pass

    def worked(self, done: int, total: int) -> None:
        self.bars.running(done, total)

    def reporter(self, job: Any) -> RunBars:
        return self.bars


class ManyRuns:
    """Hears of a campaign with many runs, and shows how far it is."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task = progress.add_task("beginning", total=None)
        self.failures = 0

    def begun(self, job: Any) -> None:
        self.progress.update(self.task, description=f"begun {job.name}")

    def finished(self, job: Any) -> None:
        self.progress.print(Text(f"finished {job.name}"))

    def failed(self, job: Any, failure: Any) -> None:
        self.failures += 1
        say("failed", f"{job.name}: {failure.said}", "red")

    def worked(self, done: int, total: int) -> None:
        self.progress.update(self.task, completed=done, total=total, description="attacking")

    def reporter(self, job: Any) -> None:
        return None


def bars() -> Bars:
    return Bars(
        TextColumn("{task.description}", table_column=Column(width=17, no_wrap=True, overflow="ellipsis")),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=screen,
    )


def show_each_once() -> Callable[..., None]:
    """Make a ``show_warning`` that leaves out what it has said already, such as the same of each run of a campaign."""
    said = set[str]()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if str(message) not in said:
            said.add(str(message))
            show_warning(message, category)

    return show


def show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    """Replace ``warnings.showwarning``: print our warnings as a paragraph, and hide those of libraries."""
    if issubclass(category, UnderfireWarning):
        say("warning", str(message), "yellow")


def say(kind: str, message: str, style: str) -> None:
    """Print one paragraph on stderr. Brackets in it are no markup, because paths may hold them."""
    screen.print(Text.assemble((f"{kind}:", style), f" {message}"))


def warn_of(runs: Sequence[Run], console: Console) -> None:
    """Print what speaks against the numbers of finished runs, below their table."""
    from underfire.reports.trust import cautions

    for run in runs:
        about = f"{run.name}: " if len(runs) > 1 else ""
        for text in cautions(run):
            console.print(Text.assemble(("!", "bold yellow"), " ", about, text))
