"""The folder of a campaign: one folder for each run, and a file that says how far each run is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

from underfire.campaigns.grid import Grid, Point
from underfire.campaigns.record import FILE, DamagedRecordError, Entry, Record, State, read_record, write_record
from underfire.errors import InputError, StoreError, unknown_name, warn
from underfire.files import parts_of, path_of
from underfire.frames import pandas
from underfire.runs import Run
from underfire.runs.differences import differences
from underfire.runs.disk import is_part, writing
from underfire.runs.disk import replace as replace_file
from underfire.runs.locking import LOCK, locked
from underfire.runs.manifest import SUFFIX
from underfire.runs.places import check_places
from underfire.runs.settings import RunConfig
from underfire.text import first_few

NO_NOTES: Mapping[str, str] = MappingProxyType({})


class Campaign:
    """A campaign that ``underfire run`` has begun or finished, read from its folder.

    Args:
        folder: the campaign's folder.

    Attributes:
        path: the folder.
        name: the campaign's title.
        entries: its runs, in the order of the grid.

    Raises:
        StoreError: the folder holds no campaign, a damaged one, or one of a later version of underfire.
    """

    def __init__(self, folder: Path | str) -> None:
        self.path = path_of("folder", folder)
        record = read_record(self.path)
        self.grid, self.entries, self.name = record.grid, record.entries, record.grid.name
        self._configurations = record.configurations

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
        """Read a finished run. Raises StoreError if it is not finished, and InputError if there is no such run."""
        names = [entry.name for entry in self.entries]
        if name not in names:
            raise unknown_name("run", name, names)
        return Run(self.folder_of(name))

    def to_pandas(self) -> Any:
        """Return the rows of all finished runs as one pandas DataFrame.

        Its first column, ``run``, holds the run's name. The settings that set the runs apart are columns, too. Where
        the rows have a column of the same name already, the setting's is called ``setting_NAME``, as in
        ``setting_attack`` and ``setting_steps``. A setting with several values is a text with commas.

        Raises:
            InputError: pandas is not installed, or no run is finished.
            StoreError: the results of a run are missing or broken.
        """
        library = pandas()
        if not self.finished:
            raise InputError(f"no run of {self.path} is finished, so there are no rows yet; see underfire status.")
        frames = []
        for entry in self.finished:
            frame = self.run(entry.name).to_pandas()
            held = list(frame)
            for place, (name, value) in enumerate(self.apart(entry.name).items()):
                frame.insert(place, f"setting_{name}" if name in held else name, value)
            frames.append(frame)
        return library.concat(frames, ignore_index=True)

    def apart(self, name: str) -> dict[str, Any]:
        """Return what tells a run apart from the others: its name as ``run``, and the settings in which runs differ.

        A setting with several values is a text with commas.
        """
        settings, varying = (
            self.configuration(name),
            dict.fromkeys(key for entry in self.entries for key in entry.values),
        )
        found = {key: settings.get(key) for key in varying}
        return {"run": name} | {k: ",".join(map(str, v)) if isinstance(v, list) else v for k, v in found.items()}

    def configuration(self, name: str) -> dict[str, Any]:
        """Return all settings of a run, as JSON values."""
        return self._configurations[name]

    def progress(self, name: str) -> tuple[int, int]:
        """Count the complete shards of a run's cells, and all: (done, total); (0, 0) if it is not begun."""
        folder = self.folder_of(name)
        try:
            record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
            shards, cells = int(record["shards"]), [str(cell["key"]) for cell in record["cells"]]
        except (OSError, ValueError, KeyError, TypeError):
            return 0, 0
        done = sum(1 for key in cells for _ in (folder / "cells" / key).glob(f"*.{SUFFIX}"))
        return done, shards * len(cells)


class CampaignStore:
    """Writes the folder of a campaign.

    Args:
        folder: made if it does not exist.
        resume: go on with the campaign that the folder holds.
        notes: texts that lie beside the campaign's record, by the name of their file. They are written first, so that
            there is no campaign without them.

    Raises:
        StoreError: the folder holds something, and ``resume`` was not asked for; or a file or folder of a campaign is
            something else there, such as a link.
    """

    def __init__(self, folder: Path, resume: bool, notes: Mapping[str, str] = NO_NOTES) -> None:
        self.folder, self.notes = folder, notes
        if folder.exists() and not folder.is_dir():
            raise StoreError(f"output folder {folder} is a file; give a folder.")
        held = sorted(entry.name for entry in folder.iterdir()) if folder.exists() else []
        # A kill at once may leave a lock, notes and half-written files.
        begun = {LOCK, *notes, *(name for name in held for whole in (FILE, *notes) if is_part(name, whole))}
        held = [name for name in held if name not in begun]
        if held and FILE not in held and "runs" not in held:
            raise StoreError(f"output folder {folder} holds {first_few(held)}, and no campaign: choose another folder.")
        if held and not resume:
            raise StoreError(
                f"output folder {folder} holds a campaign: give --resume to go on with it, or choose another folder."
            )
        check_places(folder, files=(LOCK, FILE, *notes), folders=("runs",))

    @contextmanager
    def working(self) -> Iterator[None]:
        """Context that locks the folder against other processes."""
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder, "runs a campaign"):
            yield

    def begin(self, grid: Grid, points: Sequence[Point]) -> None:
        """Write down which runs the campaign has. What was lost of the folder is named in a warning.

        Raises:
            StoreError: the folder holds another campaign: one of its runs is missing, or has other settings now.
        """
        configurations = {point.name: point.config.to_dict() for point in points}
        held = self._held() or Record(grid, [], {})
        for entry in held.entries:
            if entry.name not in configurations:
                raise StoreError(
                    f"output folder {self.folder} holds another campaign: it has a run {entry.name}, which the "
                    "campaign file does not describe any more. Nothing was changed."
                )
            before = RunConfig.from_values(held.configurations[entry.name]).to_dict()
            changed = differences(before, configurations[entry.name])
            if changed:
                raise StoreError(
                    f"output folder {self.folder} holds another campaign: in run {entry.name}, "
                    f"{'; '.join(changed)}. Nothing was changed."
                )
        self._entries = {entry.name: entry for entry in held.entries}
        for name, entry in self._entries.items():
            place = self.folder / "runs" / name
            if entry.state in ("begun", "finished") and (not place.exists() or self._is_empty(place)):
                self._warn(f"run {name} was {entry.state}, and its files are gone. It is made anew.")
        for point in points:
            self._entries.setdefault(point.name, Entry(point.name, point.values))
        for name in (FILE, *self.notes):
            for part in parts_of(self.folder / name):
                part.unlink()  # a killed process left it
        with writing(self.folder):
            for name, text in self.notes.items():
                replace_file(self.folder / name, partial(Path.write_text, data=text, encoding="utf-8"))
        self._grid, self._configurations = grid, configurations
        self._write()

    def _held(self) -> Record | None:
        """Read what the folder holds; None if that is nothing, or nothing that can be read."""
        if (self.folder / FILE).exists():
            try:
                return read_record(self.folder)
            except DamagedRecordError:
                self._warn(f"{FILE} is damaged. It is made again from the campaign file.")
        elif (self.folder / "runs").exists():
            self._warn(f"{FILE} is missing. It is made again from the campaign file.")
        return None

    @staticmethod
    def _is_empty(place: Path) -> bool:
        return place.is_dir() and not any(place.iterdir())

    def _warn(self, text: str) -> None:
        warn(f"output folder {self.folder} was damaged: {text}")

    def note(self, name: str, state: State, error: str = "") -> None:
        """Write down how far a run is."""
        self._entries[name] = replace(self._entries[name], state=state, error=error)
        self._write()

    def _write(self) -> None:
        write_record(self.folder, Record(self._grid, list(self._entries.values()), self._configurations))
