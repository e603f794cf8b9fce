"""The folder of a campaign: one folder for each run, and a file that says how far each run is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from underfire.campaigns.grid import Grid, Point
from underfire.errors import StoreError
from underfire.runs import Run
from underfire.runs.differences import differences
from underfire.runs.settings import RunConfig
from underfire.text import first_few

FORMAT = 1
"""The version of a campaign's folder."""
FILE = "campaign.json"
State = Literal["waiting", "begun", "finished", "failed"]


@dataclass(frozen=True)
class Entry:
    """One run of a campaign.

    Args:
        name: its name, and that of its folder in ``runs/``.
        values: the settings that set it apart from the other runs.
        state: ``waiting``, ``begun``, ``finished`` or ``failed``.
        error: why it failed; empty if it did not.
    """

    name: str
    values: dict[str, Any]
    state: State = "waiting"
    error: str = ""


class Campaign:
    """A campaign that ``underfire run`` has begun or finished, read from its folder.

    Args:
        folder: the campaign's folder.

    Attributes:
        path: the folder.
        name: the campaign's title.
        entries: its runs, in the order of the grid.

    Raises:
        StoreError: the folder holds no campaign, or one of a later version of underfire.
    """

    def __init__(self, folder: Path | str) -> None:
        self.path = Path(folder)
        try:
            content = json.loads((self.path / FILE).read_text(encoding="utf-8"))
            self.name, form = str(content["name"]), int(content["format"])
            self.grid = Grid.model_validate(content["grid"])
            self.entries = [Entry(**values) for values in content["runs"]]
            self._configurations: dict[str, dict[str, Any]] = content["configurations"]
        except FileNotFoundError as error:
            raise StoreError(
                f"{self.path} holds no campaign: {FILE} is missing. Did 'underfire run' write it?"
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{self.path / FILE} cannot be read: {error}. Remove it, and run the campaign again with "
                "--resume: finished parts are kept."
            ) from error
        if form > FORMAT:
            raise StoreError(
                f"{self.path} has campaign format {form}, and this version of underfire reads formats up to {FORMAT}: "
                "update underfire."
            )

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __repr__(self) -> str:
        return f"Campaign({str(self.path)!r}, {len(self)} runs, {len(self.finished)} finished)"

    @property
    def finished(self) -> list[Entry]:
        """The runs that are finished."""
        return [entry for entry in self.entries if entry.state == "finished"]

    def folder_of(self, name: str) -> Path:
        """Return the folder of a run."""
        return self.path / "runs" / name

    def run(self, name: str) -> Run:
        """Read a finished run. Raises StoreError if it is not finished."""
        return Run(self.folder_of(name))

    def configuration(self, name: str) -> dict[str, Any]:
        """Return all settings of a run, as JSON values."""
        return self._configurations[name]

    def progress(self, name: str) -> tuple[int, int]:
        """Count the complete shards of a run's cells, and all: (done, total); (0, 0) if it is not begun."""
        folder = self.folder_of(name)
        try:
            record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            shards, cells = int(record["shards"]), [cell["key"] for cell in record["cells"]]
        except (OSError, ValueError, KeyError, TypeError):
            return 0, 0
        done = sum(1 for key in cells for shard in range(shards) if (folder / f"cells/{key}/{shard:06d}.json").exists())
        return done, shards * len(cells)


class CampaignStore:
    """Writes the folder of a campaign.

    Args:
        folder: made if it does not exist.
        resume: go on with the campaign that the folder holds.

    Raises:
        StoreError: the folder holds something, and ``resume`` was not asked for.
    """

    def __init__(self, folder: Path, resume: bool) -> None:
        self.folder = folder
        self.entries: dict[str, Entry] = {}
        if folder.exists() and not folder.is_dir():
            raise StoreError(f"output folder {folder} is a file; give a folder.")
        begun = {".lock", f"{FILE}.part"}  # a process that was killed at once may have left these
        held = sorted(entry.name for entry in folder.iterdir() if entry.name not in begun) if folder.exists() else []
        if held and FILE not in held and "runs" not in held:
            raise StoreError(f"output folder {folder} holds {first_few(held)}, and no campaign: choose another folder.")
        if held and not resume:
            raise StoreError(
                f"output folder {folder} holds a campaign: give --resume to go on with it, or choose another folder."
            )

    @contextmanager
    def working(self) -> Iterator[None]:
        """Context that locks the folder against other processes."""
        from filelock import FileLock, Timeout

        lock = FileLock(self.folder / ".lock")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout as error:
            raise StoreError(
                f"output folder {self.folder} is in use: another process runs a campaign in it."
            ) from error
        except OSError as error:
            raise StoreError(f"output folder {self.folder} cannot be written: {error.strerror or error}.") from error
        try:
            yield
        finally:
            lock.release()
            (self.folder / ".lock").unlink(missing_ok=True)

    def begin(self, grid: Grid, points: Sequence[Point]) -> None:
        """Write down which runs the campaign has.

        Raises:
            StoreError: the folder holds another campaign: one of its runs is missing, or has other settings now.
        """
        configurations = {point.name: point.config.to_dict() for point in points}
        if (self.folder / FILE).exists():
            held = Campaign(self.folder)
            for entry in held:
                if entry.name not in configurations:
                    raise StoreError(
                        f"output folder {self.folder} holds another campaign: it has a run {entry.name}, which the "
                        "campaign file does not describe any more. Nothing was changed."
                    )
                before = RunConfig.from_values(held.configuration(entry.name)).to_dict()
                changed = differences(before, configurations[entry.name])
                if changed:
                    raise StoreError(
                        f"output folder {self.folder} holds another campaign: in run {entry.name}, "
                        f"{'; '.join(changed)}. Nothing was changed."
                    )
            self.entries = {entry.name: entry for entry in held}
        for point in points:
            self.entries.setdefault(point.name, Entry(point.name, json.loads(json.dumps(point.values))))
        self._grid, self._configurations = grid, configurations
        self._write()

    def note(self, name: str, state: State, error: str = "") -> None:
        """Write down how far a run is."""
        self.entries[name] = replace(self.entries[name], state=state, error=error)
        self._write()

    def _write(self) -> None:
        content: Mapping[str, Any] = {
            "format": FORMAT,
            "name": self._grid.name,
            "grid": self._grid.model_dump(),
            "runs": [asdict(entry) for entry in self.entries.values()],
            "configurations": self._configurations,
        }
        part = self.folder / f"{FILE}.part"
        try:
            part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            part.replace(self.folder / FILE)
        except OSError as error:
            raise StoreError(f"output folder {self.folder} cannot be written: {error.strerror or error}.") from error
