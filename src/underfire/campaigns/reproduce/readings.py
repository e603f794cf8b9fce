"""The readings of finished runs by interpreters that these runs did not attack."""

from __future__ import annotations

from pathlib import Path

from underfire.campaigns.folder import Campaign
from underfire.runs import Run


def transfer_folder(folder: Path, name: str, reader: str) -> Path:
    """Return the folder of the reading of a run, below a campaign's folder."""
    return folder / "transfers" / name / reader.replace(":", "_").replace("/", "_")


def readings_of(campaign: Campaign, name: str) -> list[Run]:
    """Return the finished readings of a run by interpreters that it did not attack."""
    found = [
        Run(file.parent, finished=False) for file in sorted((campaign.path / "transfers" / name).glob("*/*/run.json"))
    ]
    return [run for run in found if run.record.get("finished")]
