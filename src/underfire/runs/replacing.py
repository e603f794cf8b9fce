"""Replacing a run in its folder: the former run stays beside the new one until the new one is known to work."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path

from underfire.files import NUMBERED
from underfire.runs.disk import PART

_OURS = re.compile(
    rf"\.replaced(\.gone)?|(\.replaced(\.gone)?/)?"
    rf"((run\.json|selection\.json|summary\.json|results\.parquet|trace\.parquet|ma(p|sk)s\.safetensors)({PART})?"
    rf"|\.writable|\.lock|(page\.html|page\.png|figure\.png|outliers\.csv|detection\.(json|csv)|scores\.csv|tracked\.json)({PART})?"
    rf"|evaded(/\d+(/detector\.(json|safetensors)({PART})?)?)?"
    rf"|page_files(/\d+-\d{{6}}-[a-z0-9]+\.(webp|png|jpeg|svg))?"
    rf"|images(/[\w+-]+(/\d{{6,}}-[\w.-]*\.png({PART})?)?)?"
    rf"|cells(/[0-9a-f]{{16}}(/\d{{6,}}\.(parquet|trace|safetensors|json)({PART})?)?)?"
    rf"|shards(/\d{{6,}}\.(parquet|trace|safetensors)({PART})?)?)",
    re.ASCII,
)


def foreign_files(folder: Path) -> list[str]:
    """List what a folder holds that no run and no report wrote, and all links: paths in the folder."""
    inside = ((entry.relative_to(folder).as_posix(), entry) for entry in sorted(folder.rglob("*")))
    return [name for name, entry in inside if entry.is_symlink() or not _OURS.fullmatch(name)]


def remove_parts(folder: Path) -> None:
    """Remove the half-written files that killed processes left in a run's folder. No other process may write there.

    Files called ``NAME.part`` without a number stay: they may be the user's own.
    """
    for entry in folder.rglob("*.part"):
        if re.search(f"{NUMBERED}$", entry.name) and _OURS.fullmatch(entry.relative_to(folder).as_posix()):
            with suppress(OSError):  # a folder, or a file that is gone: it does no harm
                entry.unlink()


class Former:
    """The former run in a folder that a new run is written to.

    ``run.json`` moves last out of a folder and first into one, so that a process that is killed in between leaves the
    former run whole: in its place, or ready to be moved again.

    Args:
        folder: the folder of both runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._aside, self._gone = folder / ".replaced", folder / ".replaced.gone"

    @property
    def kept(self) -> bool:
        """True if a former run is kept beside a new one."""
        return (self._aside / "run.json").exists()

    def set_aside(self) -> None:
        """Move the run in the folder aside. If one is kept already, the folder's own run never worked: remove that."""
        if self.kept:
            self.clear()
            return
        self._aside.mkdir(exist_ok=True)
        for entry in self._inside():
            entry.rename(self._aside / entry.name)

    def put_back(self) -> None:
        """Remove the new run, and move the former one back."""
        self.clear()
        for entry in sorted(self._aside.iterdir(), key=lambda entry: entry.name != "run.json"):
            entry.rename(self.folder / entry.name)
        self._aside.rmdir()

    def drop(self) -> None:
        """Remove the former run, if there is one."""
        if self._aside.exists():
            self._aside.rename(self._gone)
        shutil.rmtree(self._gone, ignore_errors=True)

    def clear(self) -> None:
        """Remove the folder's own run."""
        shutil.rmtree(self._gone, ignore_errors=True)
        for entry in self._inside():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()

    def _inside(self) -> list[Path]:
        """List the content of the folder's own run. Without run.json, nothing tells that the rest belongs to a run."""
        own = [entry for entry in self.folder.iterdir() if entry.name not in (".lock", self._aside.name)]
        return sorted(own, key=lambda entry: entry.name == "run.json")
