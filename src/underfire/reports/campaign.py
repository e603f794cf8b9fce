"""The pages of a campaign: one for each finished run, and one of all of them."""

from __future__ import annotations

from pathlib import Path

from underfire.campaigns.folder import Campaign
from underfire.errors import warn
from underfire.reports.detected import RECORD
from underfire.reports.figure import write_figure
from underfire.reports.page import write_page
from underfire.reports.sound import figure_is_sound, folder_of, is_of_earlier_version, page_is_sound


def write_run_page(folder: Path) -> None:
    """Write page and figure of a finished run, unless they are newer than its summary and its scores.

    If they are, and a file of them is missing or damaged, they are written again, with a warning.

    Args:
        folder: the run's folder.

    Raises:
        StoreError: the run cannot be read, or a file cannot be written.
    """
    page, figure, made = folder / "page.html", folder / "figure.png", [folder / "summary.json", folder / RECORD]
    if page.is_file() and all(page.stat().st_mtime >= each.stat().st_mtime for each in made if each.exists()):
        # The run was finished before, and has its page.
        if page_is_sound(page) and figure_is_sound(figure):
            return
        if not is_of_earlier_version(page):
            warn(
                f"{page}, its pictures in {folder_of(page).name}/ or {figure.name} are missing in part, or are not as "
                "they were written. They are made again."
            )
    write_page([folder], page)
    write_figure([folder], figure)


def write_campaign_page(campaign: Campaign) -> Path | None:
    """Write one page of all finished runs of a campaign.

    Returns:
        The page, ``page.html`` in the campaign's folder; None if no run is finished.

    Raises:
        StoreError: a run cannot be read, or the page cannot be written.
    """
    folders = [campaign.folder_of(entry.name) for entry in campaign.finished]
    return write_page(folders, campaign.path / "page.html", title=campaign.name) if folders else None
