"""``underfire run --dry-run``: the runs of a campaign, with their time and size."""

from __future__ import annotations

from typing import Any

from underfire.cli.screen import bars
from underfire.errors import UnderfireError


def show_estimate(grid: Any, execution: Any, workers: int) -> None:
    """Print a table of the runs, and the sums. Raises UnderfireError if a run is impossible."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from underfire.campaigns.estimate import estimate
    from underfire.text import counted

    with bars() as progress:
        task: Any = progress.add_task("timing", total=None)
        found = estimate(
            grid.points(), execution, lambda done, total: progress.update(task, completed=done, total=total)
        )
    table = Table(box=None, pad_edge=False)
    for heading in ("run", "images", "parts", "cells", "shared", "steps", "time", "disk"):
        table.add_column(heading, justify="left" if heading == "run" else "right", overflow="fold")
    for each in found:
        numbers = (each.images, each.shards * (each.cells + each.shared), each.cells, each.shared, each.steps)
        shown = [f"{number:,}" for number in numbers]
        table.add_row(Text(each.point.name), *shown, _time(each.seconds), _size(each.bytes))
    console = Console()
    console.print(table)
    seconds, size = sum(each.seconds for each in found) / workers, sum(each.bytes for each in found)
    cells = sum(each.cells for each in found)
    console.print(
        f"{counted(len(found), 'run')}, {counted(cells, 'cell')}: about {_time(seconds)} with "
        f"{counted(workers, 'worker')}, "
        f"and {_size(size)} on the disk."
    )
    impossible = [each for each in found if each.error]
    for each in impossible:
        console.print(Text.assemble((f"{each.point.name}: ", "bold red"), each.error))
    if impossible:
        raise UnderfireError(f"{len(impossible)} of {len(found)} runs are impossible, as shown.")


def _time(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )


def _size(count: int) -> str:
    return f"{count / 1e6:.0f} MB" if count < 1e9 else f"{count / 1e9:.1f} GB"
