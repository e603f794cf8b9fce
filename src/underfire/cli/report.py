"""``underfire report`` and ``underfire export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from underfire.cli.options import flag, option
from underfire.cli.screen import warn_of
from underfire.errors import InputError

REPORT_EXAMPLES = """[bold]Examples[/bold]

underfire report runs/mine

underfire report runs/mine --by-class

underfire report runs/cam runs/grad --out both/page.html --title "Two explanations\""""

EXPORT_EXAMPLES = """[bold]Examples[/bold]

underfire export runs/mine --format csv --out results.csv

underfire export runs/grid --format csv --out grid.csv

underfire export runs/grid --format huggingface --out for-the-hub

underfire export runs/mine --format my_export.py:markdown --out table.md"""

Folders = Annotated[list[Path], typer.Argument(metavar="DIR...", help="Folders of finished runs.")]


def report(
    folders: Folders,
    out: Annotated[
        Path | None,
        option(
            "FILE",
            "HTML file; the figure lies beside it, with the same name and .png. [default: page.html and figure.png in "
            "the run's folder; needed for several runs]",
            "--out",
            show_default=False,
        ),
    ] = None,
    title: Annotated[
        str | None,
        option(
            "TEXT",
            "Title of the page. [default: the campaign's name, or made from the runs]",
            "--title",
            show_default=False,
        ),
    ] = None,
    gallery: Annotated[int, option("N", "The largest number of images in the gallery.", "--gallery")] = 1000,
    by_class: Annotated[
        bool, flag("--by-class", "Print success, joint success and map distance by the class of the images, too.")
    ] = False,
    outliers: Annotated[
        bool,
        flag(
            "--outliers",
            "Print if scattered maps or near decision boundaries go with maps that are kept badly, and write "
            "outliers.csv into each run's folder.",
        ),
    ] = False,
    tables: Annotated[bool, flag("--tables", "Make results.parquet, trace.parquet and summary.json again.")] = False,
) -> None:
    """Make the page and the figure of finished runs again, and print their tables.

    The folder of a campaign stands for all of its finished runs. The folder of a transfer has a page of its own. With
    several folders, one page and one figure show all of them; --out says where these lie.
    """
    from rich.console import Console
    from rich.text import Text

    from underfire.reports.classes import class_tables
    from underfire.reports.detected import Detected
    from underfire.reports.detection import detection_tables
    from underfire.reports.figure import write_figure
    from underfire.reports.outliers import outlier_tables, write_outliers
    from underfire.reports.page import write_page
    from underfire.reports.table import summary_table
    from underfire.reports.transfer_page import write_transfer_page
    from underfire.runs import Run
    from underfire.runs.results import write_results
    from underfire.runs.transferred import TABLE, read_tables

    if out is None and len(folders) > 1:
        raise InputError(
            f"out is missing: a page of {len(folders)} runs belongs to none of them alone. Give --out, such as --out "
            "both.html."
        )
    if out is not None and out.suffix.lower() == ".png":
        raise InputError(f"out is {str(out)!r}, the name of a picture; expected the page's, such as {out.stem}.html.")
    if len(folders) == 1 and (folders[0] / TABLE).exists():
        if by_class or outliers or tables:
            raise InputError(
                f"{folders[0]} is a transfer, and --by-class, --outliers and --tables are about runs: name one of "
                "the run folders in it."
            )
        written_to = write_transfer_page(read_tables(folders[0]), out or folders[0] / "page.html", title)
        Console().print(Text.assemble("Written to ", (str(written_to), "bold")))
        return
    folders, home, named = _runs_of(folders)
    runs = [Run(folder) for folder in folders]
    for run in runs:
        run.warn_if_damaged()
        if tables:
            write_results(run)
        run.warn_if_outdated()
    page = write_page(runs, out or home / "page.html", title or named, gallery)
    figure = write_figure(runs, page.parent / ("figure.png" if out is None else f"{page.stem}.png"))
    console, written = Console(), [page, figure]
    console.print(summary_table(*runs))
    warn_of(runs, console)
    rows = [row for run in runs if (held := Detected.of(run.path)) is not None for row in held.rows]
    if rows:
        console.print(detection_tables(rows))
    if by_class:
        console.print(class_tables(*runs))
    if outliers:
        console.print(outlier_tables(*runs))
        written += [write_outliers(run) for run in runs]
    names = [part for path in written for part in (", ", (str(path), "bold"))][1:]
    names[-2] = " and "
    console.print(Text.assemble("Written to ", *names))


def _runs_of(folders: list[Path]) -> tuple[list[Path], Path, str | None]:
    """Put the finished runs of a campaign in the place of its folder, each run once.

    Returns:
        The folders of the runs, the folder of the page, and the name of the campaign if there is one alone.
    """
    from underfire.campaigns.folder import Campaign
    from underfire.campaigns.record import FILE

    found: list[Path] = []
    name = None
    for folder in folders:
        if (folder / FILE).exists():
            campaign = Campaign(folder)
            found += [campaign.folder_of(entry.name) for entry in campaign.finished]
            name = campaign.name if len(folders) == 1 else None
            if not campaign.finished:
                raise InputError(f"the campaign in {folder} has no finished run: see 'underfire status {folder}'.")
        else:
            found.append(folder)
    # A folder that is named twice, or with its campaign, is one run: it counts once among the comparisons of a page.
    different: dict[Path, Path] = {}
    for folder in found:
        different.setdefault(folder.resolve(), folder)
    return list(different.values()), folders[0], name


def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a finished run, or of a campaign.")],
    out: Annotated[
        Path | None,
        option(
            "PATH",
            "The file or folder to write. [default: DIR-huggingface for that format; needed for formats that write a "
            "file]",
            "--out",
            show_default=False,
        ),
    ] = None,
    format: Annotated[str, option("NAME", "Format: see 'underfire list', or file.py:name.", "--format")] = "csv",
) -> None:
    """Write a finished run, or all finished runs of a campaign, in another format.

    csv and latex make one table of a campaign, with a column that names the run. huggingface writes a folder with the
    saved images and their measures; load_dataset("imagefolder", data_dir=...) of the package datasets reads it. maps
    takes one run.
    """
    from underfire.reports.exports import export as write

    typer.echo(f"Written to {write(folder, format, out)}")
