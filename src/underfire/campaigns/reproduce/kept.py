"""Findings that are kept as soon as they are made, so that a measurement that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from underfire.campaigns.reproduce.findings import Finding, read_findings, write_findings
from underfire.errors import StoreError
from underfire.runs import disk
from underfire.version import __version__


@dataclass(frozen=True)
class Kept:
    """A folder of findings, one file for each measurement, named by the hash of all that the numbers depend on.

    Args:
        folder: made with the first measurement.
    """

    folder: Path

    def findings(self, about: Mapping[str, Any], measure: Callable[[], Iterable[Finding]]) -> list[Finding]:
        """Return the findings of a measurement: those that are kept, or new ones, which are kept.

        Args:
            about: all that the numbers depend on, as JSON values.
            measure: makes the findings. What it raises is passed on, and nothing is kept.

        Raises:
            StoreError: the findings cannot be written.
        """
        text = json.dumps({"version": __version__, **about}, sort_keys=True)
        file = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.parquet"
        if file.exists():
            try:
                return read_findings(file)
            except StoreError:  # damaged: measured again
                pass
        found = list(measure())
        with disk.writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        write_findings(found, file, text)
        return found
