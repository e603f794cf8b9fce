"""``underfire status``: how far a campaign is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from underfire.errors import StoreError

STATUS_EXAMPLES = """[bold]Examples[/bold]

underfire status runs/grid"""


def status(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The campaign's folder.", show_default=False)],
) -> None:
    """Show how far the runs of a campaign are, while it runs or afterwards."""
    show(folder.expanduser())


def show(folder: Path) -> None:
    """Print a table of a campaign's runs."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from underfire.campaigns.folder import Campaign
    from underfire.text import counted

    campaign = Campaign(folder)
    table = Table(box=None, pad_edge=False)
    for heading in ("run", "state", "parts", "joint success, by interpreter"):
        table.add_column(heading, overflow="fold")
    for entry in campaign:
        done, total = campaign.progress(entry.name)
        said = entry.error
        style = {"finished": "green", "failed": "red"}.get(entry.state, "")
        if entry.state == "finished":
            try:
                said = _joint(campaign, entry.name)
            except StoreError as error:
                said, style = f"{error} Go on with --resume.", "red"
        parts = f"{done}/{total}" if total else ""
        table.add_row(Text(entry.name), Text(entry.state, style), Text(parts), Text(said))
    console = Console()
    console.print(table)
    runs = f"{counted(len(campaign), 'run')} {'is' if len(campaign) == 1 else 'are'}"
    console.print(Text(f"{len(campaign.finished)} of {runs} finished. Folder: {folder}"))


def _joint(campaign: Any, name: str) -> str:
    """Describe the joint success of a finished run. Raises StoreError if its summary is lost."""
    from underfire.attacks.perturbations import eps_text
    from underfire.runs.folder import read_summary, results_in

    shown = []
    for part in results_in(read_summary(campaign.folder_of(name))):
        eps = "" if part.get("eps") is None else f"eps {eps_text(part['eps'])}"
        about = str(part.get("cell") or eps)
        for interpreter, found in part["joint_success"].items():
            ends = [found["mean"], found["low"], found["high"]]
            if None not in ends:  # at least one image was attacked
                share = "{:.0f} % [{:.0f}, {:.0f}]".format(*(100 * end for end in ends))
                shown.append(f"{about}{about and ': '}{interpreter} {share}")
    return ", ".join(shown)
