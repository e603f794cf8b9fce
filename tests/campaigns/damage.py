"""Kinds of damage to the folder of a campaign, and the words for each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.runs.damage import MANIFEST, ROWS, TENSORS, TRACE, Folder, cut, delete, empty, file_instead, flip
from tests.runs.damage import folder_instead as folder_in_place

FINISHED, BEGUN = "adv2", "advedge"
"""The runs of the campaign: one is finished, and one has half of its shards."""
End = Literal["repaired", "failed", "refused"]


@dataclass(frozen=True)
class Kind:
    """A kind of damage.

    Args:
        name: in a few words.
        harm: does it, to the campaign's folder.
        said: a part of the warning or of the error when the campaign is resumed; empty if nothing needs to be said.
        end: ``repaired`` if the campaign ends as if nothing had happened, ``failed`` if one run fails and the other
            ends as it should, ``refused`` if nothing is done.
        seen: a part of the warning or of the error of ``report`` before the campaign is resumed; empty if nothing that
            a report reads is damaged.
    """

    name: str
    harm: Callable[[Path], object]
    said: str
    end: End = "repaired"
    seen: str = ""

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def link(path: Path) -> None:
    """Move a file or folder to a place beside the campaign's folder, and leave a link to it."""
    campaign = next(parent for parent in path.parents if parent.name == "grid")
    moved = campaign.with_name("elsewhere")
    shutil.move(path, moved)
    path.symlink_to(moved)


def at(name: str, change: Callable[[Path], object]) -> Callable[[Path], object]:
    """Change a file or folder by its path in the campaign's folder."""
    return lambda folder: change(folder / name)


def of_run(name: str, path: str, change: Callable[[Path], object]) -> Callable[[Path], object]:
    """Change a file or folder of a run."""
    return at(f"runs/{name}/{path}" if path else f"runs/{name}", change)


def run_folder(folder: Path, name: str) -> Folder:
    path = folder / "runs" / name
    cells = json.loads((path / "run.json").read_text())["cells"]
    return Folder(path, {cell["label"]: cell["key"] for cell in cells})


def shard(label: str, suffix: str, change: Callable[[Path], object], name: str = FINISHED) -> Callable[[Path], object]:
    """Change a file of the first shard of a cell."""
    return lambda folder: change(run_folder(folder, name).file(label, 0, suffix))


def cell(label: str, change: Callable[[Path], object], name: str = FINISHED) -> Callable[[Path], object]:
    """Change the folder of a cell."""
    return lambda folder: change(run_folder(folder, name).file(label, 0, ROWS).parent)


def image(label: str, change: Callable[[Path], object], name: str = FINISHED) -> Callable[[Path], object]:
    """Change a saved image."""
    return lambda folder: change(run_folder(folder, name).image(label, 0))


def holding(value: Any) -> Callable[[Path], object]:
    """Write another JSON value into a file."""
    return lambda path: path.write_text(json.dumps(value))


def edited(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Change the content of a JSON file."""

    def harm(path: Path) -> None:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return harm


other_hash = edited(lambda held: held.update(sha256="0" * 64))
"""Give a JSON file another hash of its content."""


def swapped_runs(folder: Path) -> None:
    for source, target in ((FINISHED, "aside"), (BEGUN, FINISHED), ("aside", BEGUN)):
        (folder / "runs" / source).rename(folder / "runs" / target)


def other_record(folder: Path) -> None:
    shutil.copy(folder / "runs" / FINISHED / "run.json", folder / "runs" / BEGUN / "run.json")


def leftovers(folder: Path) -> None:
    """Leave what processes leave that are killed while they write."""
    run = run_folder(folder, BEGUN)
    places = (folder / "campaign.json", run.path / "run.json", run.file("clean", 1, ROWS), run.image("clean", 0))
    for place in places:
        for part in (place.with_name(f"{place.name}.89abcdef.part"), place.with_name(f"{place.name}.0a1b2c3d.part")):
            part.write_bytes(b"half")


RECORD = "campaign.json"
CHANGES = (
    (delete, "deleted", "is missing"),
    (empty, "emptied", "is damaged"),
    (cut, "cut", "is damaged"),
    (flip, "with a flipped bit", "is damaged"),
    (holding([1]), "is a list", "is damaged"),
    (holding(None), "is null", "is damaged"),
    (holding(3), "is a number", "is damaged"),
    (holding("text"), "is a text", "is damaged"),
    (holding({}), "is an empty object", "is damaged"),
    (edited(lambda held: held.update(runs=5)), "with a number of runs", "is damaged"),
    (edited(lambda held: held["runs"][0].update(name="../../x")), "with a path outside", "is damaged"),
    (edited(lambda held: held["runs"][0].update(state="done")), "with another state", "is damaged"),
    (edited(lambda held: held["runs"].pop()), "without a run", "is damaged"),
    (edited(lambda held: held.update(configurations=[])), "without configurations", "is damaged"),
    (edited(lambda held: held.update(format="new")), "with a text as format", "is damaged"),
)
KINDS = [
    *(Kind(f"record {name}", at(RECORD, change), rf"campaign\.json {said}") for change, name, said in CHANGES),
    Kind("record is a link", at(RECORD, link), r"campaign\.json is a link", "refused"),
    Kind("record is a folder", at(RECORD, folder_in_place), r"campaign\.json is a folder", "refused"),
    Kind("record of a later format", at(RECORD, edited(lambda held: held.update(format=9))), "format 9", "refused"),
    Kind("runs deleted", at("runs", delete), f"run {FINISHED} was finished, and .* are gone", seen="is missing"),
    Kind("runs is a file", at("runs", file_instead), "runs is a file", "refused", "cannot be read"),
    Kind("runs is a link", at("runs", link), "runs is a link", "refused"),
    Kind("lock is a folder", at(".lock", lambda path: path.mkdir()), r"\.lock is a folder", "refused"),
    Kind("lock is a link", at(".lock", lambda path: path.symlink_to("x")), r"\.lock is a link", "refused"),
    Kind("run deleted", of_run(FINISHED, "", delete), "was finished, and .* are gone", seen="is missing"),
    Kind("run emptied", of_run(FINISHED, "", folder_in_place), "was finished, and .* are gone", seen="is missing"),
    Kind("begun run deleted", of_run(BEGUN, "", delete), ""),
    Kind("run is a file", of_run(FINISHED, "", file_instead), "is a file; give a folder", "failed", "cannot be read"),
    Kind("run is a link", of_run(FINISHED, "", link), f"{FINISHED} is a link", "refused"),
    Kind("run's lock is a folder", of_run(BEGUN, ".lock", lambda path: path.mkdir()), r"\.lock is a folder", "failed"),
    Kind("runs swapped", swapped_runs, "holds another run", "failed", "not finished"),
    Kind("record of another run", other_record, "holds another run", "failed"),
    Kind("run's record deleted", of_run(FINISHED, "run.json", delete), "no run that", "failed", "is missing"),
    Kind("run's record cut", of_run(FINISHED, "run.json", cut), "damaged", "failed", "cannot be read"),
    Kind("run's record is a list", of_run(FINISHED, "run.json", holding([])), "damaged", "failed", "holds a list"),
    Kind("run's record is an empty object", of_run(BEGUN, "run.json", holding({})), "damaged", "failed"),
    Kind("selection deleted", of_run(FINISHED, "selection.json", delete), r"selection\.json is missing or changed"),
    Kind("selection cut", of_run(FINISHED, "selection.json", cut), r"selection\.json is missing or changed"),
    Kind("selection with another hash", of_run(FINISHED, "selection.json", other_hash), "missing or changed"),
    Kind("selection of the begun run deleted", of_run(BEGUN, "selection.json", delete), "missing or changed"),
    Kind("selection of the begun run cut", of_run(BEGUN, "selection.json", cut), "missing or changed"),
    Kind("selection is a folder", of_run(BEGUN, "selection.json", folder_in_place), "Is a directory", "failed"),
    Kind("summary deleted", of_run(FINISHED, "summary.json", delete), "is missing"),
    Kind("summary is a list", of_run(FINISHED, "summary.json", holding([])), "bytes instead of"),
    Kind("summary is a folder", of_run(FINISHED, "summary.json", folder_in_place), "Is a directory", "failed"),
    Kind("table cut", of_run(FINISHED, "results.parquet", cut), "bytes instead of"),
    Kind("cells deleted", of_run(FINISHED, "cells", delete), "cells/ is missing", seen="is missing"),
    Kind("cells is a link", of_run(FINISHED, "cells", link), "cells is a link", "failed"),
    Kind("images is a link", of_run(BEGUN, "images", link), "images is a link", "failed"),
    Kind("images deleted", of_run(FINISHED, "images", delete), "images/.* is missing", seen="is missing"),
    Kind("cell deleted", cell("noise", delete), "is missing", seen="is missing"),
    Kind("cell of the begun run deleted", cell("clean", delete, BEGUN), "is missing"),
    *(
        Kind(f"{name} {how}", shard(label, suffix, change), said, seen=said)
        for name, label, suffix in (
            ("rows", "adv2", ROWS),
            ("course", "adv2", TRACE),
            ("tensors", "clean", TENSORS),
            ("manifest", "clean", MANIFEST),
        )
        for change, how, said in (
            (delete, "deleted", "is missing"),
            (cut, "cut", "bytes instead of" if suffix != MANIFEST else "cannot be read"),
            (flip, "with a flipped bit", "was changed|cannot be read"),
        )
    ),
    Kind("image with a flipped bit", image("adv2", flip), "was changed", seen="was changed"),
    Kind("image that another run shares changed", image("clean", flip), "was changed", seen="was changed"),
    Kind("image of the begun run cut", image("clean", cut, BEGUN), "bytes instead of"),
    Kind("leftovers of killed processes", leftovers, ""),
]
"""Damage to a campaign that was stopped when one of its two runs was finished, and the other half done."""
