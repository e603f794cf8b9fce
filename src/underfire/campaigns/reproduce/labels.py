"""Which runs of a reproduction attack a defended interpreter, and what tables call the defense."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from underfire.campaigns.folder import Campaign
from underfire.campaigns.record import Entry
from underfire.errors import StoreError

LABELS = "defenses.json"
"""The file in a reproduction's folder that names its defended interpreters."""


def trained_without_defense(file: Path) -> bool:
    """Return True if a file of weights was made by ``underfire train robust --recipe normal``."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "np") as opened:
            return "objective='normal'" in (opened.metadata() or {}).get("made_by", "")
    except (OSError, SafetensorError):  # other kinds of files; opening the classifier says what is wrong with them
        return False


def check_labels(folder: Path, labels: Mapping[str, str]) -> None:
    """Raise StoreError if the folder calls another defended interpreter by one of these labels."""
    for name, label in read_labels(folder).items():
        other = next((each for each in labels if labels[each] == label and each != name), None)
        if other is not None:
            raise StoreError(
                f"{folder} calls {name!r} {label!r}, and would call {other!r} so, too: a defense has the name of its "
                "folder. Rename the folder, or choose another one for the results."
            )


def labelled(folder: Path, labels: Mapping[str, str]) -> dict[str, str]:
    """Return the file ``LABELS`` of a folder with more labels, as name and text; empty if there are no more."""
    return {LABELS: json.dumps(read_labels(folder) | dict(labels), indent=2) + "\n"} if labels else {}


def read_labels(folder: Path) -> dict[str, str]:
    """Read the labels of defended interpreters by name; empty if the folder has none.

    Raises:
        StoreError: the file is damaged.
    """
    file = folder / LABELS
    try:
        return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else {}
    except (TypeError, ValueError) as error:
        raise StoreError(
            f"{file} is damaged ({error}); delete it and give the same command again with --resume: it writes it anew."
        ) from error


def defense_of(campaign: Campaign, name: str) -> str:
    """Return the label of the defended interpreter that a run attacks; empty for other runs."""
    return read_labels(campaign.path).get("+".join(campaign.configuration(name)["interpreters"]), "")


def plain_runs(campaign: Campaign) -> list[Entry]:
    """List the finished runs that attack no defended interpreter."""
    return [entry for entry in campaign.finished if not defense_of(campaign, entry.name)]
