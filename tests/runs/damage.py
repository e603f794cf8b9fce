"""Kinds of damage to a run's folder, and the words that a resumed run has for each."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Change = Callable[[Path], None]


@dataclass(frozen=True)
class Folder:
    """A run's folder, and where the files of its shards are.

    Args:
        path: the folder.
        keys: the keys of cells by label.
    """

    path: Path
    keys: dict[str, str]

    def file(self, label: str, index: int, suffix: str) -> Path:
        return self.path / "cells" / self.keys[label] / f"{index:06d}.{suffix}"

    def image(self, label: str, index: int) -> Path:
        (found,) = (self.path / "images" / label).glob(f"{index:06d}-*.png")
        return found


@dataclass(frozen=True)
class Kind:
    """A kind of damage.

    Args:
        name: in a few words.
        harm: does it.
        said: a part of the warning or of the error.
        repaired: True if the run goes on, and ends as if nothing had happened; False if it is refused.
    """

    name: str
    harm: Callable[[Folder], None]
    said: str
    repaired: bool = True

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def delete(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def empty(path: Path) -> None:
    path.write_bytes(b"")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    """Change one bit in the middle, so that the size stays."""
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 1
    path.write_bytes(bytes(content))


def link(path: Path) -> None:
    """Move a file or folder out of the run's folder, which is called ``run``, and leave a link to it."""
    run = next(parent for parent in path.parents if parent.name == "run")
    moved = run.with_name("elsewhere")
    shutil.move(path, moved)
    path.symlink_to(moved)


def file_instead(path: Path) -> None:
    delete(path)
    path.write_text("a file")


def folder_instead(path: Path) -> None:
    delete(path)
    path.mkdir()


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def record(change: Callable[[dict[str, Any]], object]) -> Callable[[Folder], None]:
    """Change ``run.json``."""
    return lambda folder: edit(folder.path / "run.json", change)


def of(label: str, index: int, suffix: str, change: Change) -> Callable[[Folder], None]:
    """Change a file of a shard."""
    return lambda folder: change(folder.file(label, index, suffix))


def image(label: str, index: int, change: Change) -> Callable[[Folder], None]:
    """Change a saved image."""
    return lambda folder: change(folder.image(label, index))


def at(name: str, change: Change) -> Callable[[Folder], None]:
    """Change a file or folder by its path in the run's folder."""
    return lambda folder: change(folder.path / name)


def cell(label: str, change: Change) -> Callable[[Folder], None]:
    """Change the folder of a cell."""
    return lambda folder: change(folder.path / "cells" / folder.keys[label])


def copied(folder: Folder, source: tuple[str, int, str], to: tuple[str, int, str]) -> None:
    shutil.copy(folder.file(*source), folder.file(*to))


def swapped(one: Path, other: Path) -> None:
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)


def outside(content: dict[str, Any]) -> None:
    content["files"][0]["file"] = "../elsewhere.png"


def other_key(content: dict[str, Any]) -> None:
    content["cells"][0]["key"] = "0" * 16


MANIFEST, ROWS, TRACE, TENSORS = "json", "parquet", "trace", "safetensors"

UNFINISHED = [
    Kind("image deleted", image("adv2", 0, delete), "images/adv2/000000-.* is missing"),
    Kind("image emptied", image("bim", 1, empty), "images/bim/000001-.* has 0 bytes instead of"),
    Kind("image cut", image("clean", 1, cut), "images/clean/000001-.* bytes instead of"),
    Kind("image with a flipped bit", image("noise", 0, flip), "images/noise/000000-.* was changed"),
    Kind("images swapped", lambda f: swapped(f.image("adv2", 0), f.image("adv2", 1)), "images/adv2/000000-"),
    Kind("image is a link", image("adv2", 1, link), "images/adv2/000001-.* is a link"),
    Kind("image is a folder", image("adv2", 1, folder_instead), r"Is a directory .000001-digits_00009\.png", False),
    Kind("images deleted", at("images", delete), "images/clean/000000-.* is missing.* and 5 more"),
    Kind("images of a cell deleted", at("images/bim", delete), "images/bim/000000-.* is missing"),
    Kind("images is a link", at("images", link), "images is a link, and a folder of its own is needed", False),
    Kind("images is a file", at("images", file_instead), "images is a file, and a folder of its own is needed", False),
    Kind("images of a cell is a link", at("images/bim", link), "images/bim is a link", False),
    Kind("images of a cell is a file", at("images/bim", file_instead), "File exists .bim", False),
    *(
        Kind(f"{word} {name}", of(label, 1, suffix, change), rf"000001\.{suffix} {said}")
        for label, suffix, word in (
            ("adv2", ROWS, "rows"),
            ("adv2", TRACE, "course"),
            ("bim", TENSORS, "tensors"),
            ("clean", TENSORS, "clean tensors"),
        )
        for change, name, said in (
            (delete, "deleted", "is missing"),
            (empty, "emptied", "has 0 bytes"),
            (cut, "cut", "has .* bytes instead of"),
            (flip, "with a flipped bit", "was changed"),
        )
    ),
    Kind("rows of another shard", lambda f: copied(f, ("bim", 0, ROWS), ("bim", 1, ROWS)), r"000001\.parquet"),
    Kind("rows of another cell", lambda f: copied(f, ("bim", 1, ROWS), ("adv2", 1, ROWS)), r"000001\.parquet"),
    Kind("manifest deleted", of("adv2", 0, MANIFEST, delete), r"000000\.json is missing .part 1 of adv2"),
    Kind("last manifest deleted", of("noise", 1, MANIFEST, delete), r"000001\.json is missing .part 2 of noise"),
    Kind("manifest emptied", of("adv2", 0, MANIFEST, empty), r"000000\.json cannot be read"),
    Kind("manifest cut", of("adv2", 0, MANIFEST, cut), r"000000\.json cannot be read"),
    Kind("manifest with a flipped bit", of("adv2", 0, MANIFEST, flip), r"000000\.json (cannot be read|was changed)"),
    Kind("manifest is a folder", of("adv2", 0, MANIFEST, folder_instead), r"000000\.json", False),
    Kind(
        "manifest of another shard",
        lambda f: copied(f, ("bim", 0, MANIFEST), ("bim", 1, MANIFEST)),
        r"000001\.json is the list of another part",
    ),
    Kind(
        "manifest without a file",
        lambda f: edit(f.file("bim", 0, MANIFEST), lambda content: content["files"].pop()),
        r"000000\.json was changed",
    ),
    Kind(
        "manifest with a path outside",
        lambda f: edit(f.file("bim", 0, MANIFEST), outside),
        r"000000\.json was changed",
    ),
    Kind("cell deleted", cell("noise", delete), r"000000\.json is missing .part 1 of noise"),
    Kind("cells deleted", at("cells", delete), "cells/ is missing"),
    Kind("cells is a link", at("cells", link), "cells is a link", False),
    Kind("cells is a file", at("cells", file_instead), "cells is a file", False),
    Kind("cell is a link", cell("adv2", link), "is a link, and a folder of its own is needed", False),
    Kind("record deleted", at("run.json", delete), "holds no run that could be resumed", False),
    Kind("record emptied", at("run.json", empty), r"run\.json is damaged", False),
    Kind("record cut", at("run.json", cut), r"run\.json is damaged", False),
    Kind("record is a folder", at("run.json", folder_instead), r"run\.json is damaged", False),
    Kind("record of larger shards", record(lambda run: run.update(shard_size=3)), "counts 4 parts instead of 2"),
    Kind("record with a text as size", record(lambda run: run.update(shard_size="x")), "shard_size is 'x'", False),
    Kind("record with no size", record(lambda run: run.update(shard_size=0)), "shard_size is 0", False),
    Kind("record without cells", record(lambda run: run.pop("cells")), "another run: cells", False),
    Kind("record of another cell", record(other_key), "another run: cells", False),
    Kind("record of other data", record(lambda run: run.update(data_sha256="0")), "data were changed", False),
    Kind("record of an earlier format", record(lambda run: run.update(format=2)), "folder format 2", False),
    Kind("record of a later format", record(lambda run: run.update(format=9)), "folder format 9", False),
    Kind("record of another seed", record(lambda run: run["configuration"].update(seed=5)), "seed was 5, is 0", False),
    Kind("lock is a folder", at(".lock", lambda path: path.mkdir()), r"\.lock is a folder", False),
    Kind("lock is a link", at(".lock", lambda path: path.symlink_to("elsewhere")), r"\.lock is a link", False),
]
"""Damage to a run that was killed after 2 of 4 shards."""

FINISHED = [
    *(
        Kind(f"{name} {how}", at(name, change), f"{name} {said}")
        for name in ("summary.json", "results.parquet", "trace.parquet")
        for change, how, said in (
            (delete, "deleted", "is missing"),
            (empty, "emptied", "has 0 bytes"),
            (flip, "with a flipped bit", "was changed"),
        )
    ),
    Kind("finished, image deleted", image("adv2", 3, delete), "images/adv2/000003-.* is missing"),
    Kind("finished, images deleted", at("images", delete), "images/clean/000000-.* is missing"),
    Kind("finished, tensors with a flipped bit", of("clean", 3, TENSORS, flip), r"000003\.safetensors was changed"),
    Kind("finished, last shard of a cell deleted", of("noise", 3, MANIFEST, delete), r"000003\.json is missing"),
    Kind("finished, cells deleted", at("cells", delete), "cells/ is missing"),
    Kind("finished, fewer shards counted", record(lambda run: run.update(shards=2)), "counts 2 parts instead of 4"),
    Kind("finished, record without cells", record(lambda run: run.pop("cells")), "another run: cells", False),
    Kind("finished, hashes of results lost", record(lambda run: run.update(made=[1])), "entry 1 describes no file"),
    Kind("finished, other weights", record(lambda run: run.update(weights_sha256="0")), "weights were changed", False),
]
"""Damage to a run that was finished."""
