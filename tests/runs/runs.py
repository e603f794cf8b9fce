"""Starting runs as a user does, reading what they wrote, and data made of the built-in digits."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

import underfire as uf

Row = dict[str, Any]
MISLABELLED = 25  # an image that write_digits gives the next class, so that no classifier gets it "right"


@dataclass
class Written:
    """An output folder, read back from its files. ``maps`` are by ``cell/interpreter/image``, wanted ones by
    ``wanted/interpreter/image``; ``logits`` by ``cell/image``; ``masks`` by image. ``noise`` has the
    distances under more noise draws, as maps."""

    folder: Path
    rows: list[Row] = field(default_factory=list)
    trace: list[Row] = field(default_factory=list)
    maps: dict[str, Tensor] = field(default_factory=dict)
    logits: dict[str, Tensor] = field(default_factory=dict)
    masks: dict[str, Tensor] = field(default_factory=dict)
    noise: dict[str, Tensor] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rows = pq.read_table(self.folder / "results.parquet").to_pylist()
        self.trace = pq.read_table(self.folder / "trace.parquet").to_pylist()
        self.summary = json.loads((self.folder / "summary.json").read_text())
        self.run = json.loads((self.folder / "run.json").read_text())
        for cell in self.run["cells"]:
            for file in sorted((self.folder / "cells" / cell["key"]).glob("*.safetensors")):
                ids = pq.read_table(file.with_suffix(".parquet"))["image_id"].to_pylist()
                self._take(cell["label"], list(dict.fromkeys(ids)), load_file(file))

    def _take(self, label: str, ids: list[str], tensors: dict[str, Tensor]) -> None:
        for name, values in tensors.items():
            kind, _, interpreter = name.partition("/")
            assert len(values) == len(ids)
            for image_id, value in zip(ids, values, strict=True):
                if kind == "maps":
                    self.maps[f"{label}/{interpreter}/{image_id}"] = value
                elif kind == "wanted":
                    self.maps[f"wanted/{interpreter}/{image_id}"] = value
                elif kind == "noise":
                    self.noise[f"{label}/{interpreter}/{image_id}"] = value
                else:
                    found = {"logits": self.logits, "masks": self.masks}[kind]
                    found[image_id if kind == "masks" else f"{label}/{image_id}"] = value

    @property
    def keys(self) -> dict[str, str]:
        """The keys of the cells by label."""
        return {cell["label"]: cell["key"] for cell in self.run["cells"]}

    def of(self, attack: str, interpreter: str = "cam", correct_before: bool = True) -> list[Row]:
        """One row per image."""
        wanted = (attack, interpreter, correct_before)
        return [r for r in self.rows if (r["attack"], r["interpreter"], r["correct_before"]) == wanted]

    def of_cell(self, label: str, interpreter: str = "cam") -> list[Row]:
        """The rows of one cell, by its label."""
        return [r for r in self.rows if (r["cell"], r["interpreter"]) == (label, interpreter)]

    def images(self, rows: Sequence[Row]) -> Tensor:
        """The saved images of ``rows`` as N x 1 x H x W in [0, 1], from their files."""
        return torch.cat([read_png(self.folder / row["image_file"]) for row in rows])

    def pictures(self, label: str) -> dict[str, bytes]:
        """The files of a cell's images, by image."""
        return {r["image_id"]: (self.folder / r["image_file"]).read_bytes() for r in self.rows if r["cell"] == label}

    def everything(self) -> dict[str, bytes]:
        """The content of every file by its path."""
        return content(self.folder)


def read_png(path: Path) -> Tensor:
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        return torch.tensor(list(image.tobytes()), dtype=torch.float32).view(1, 1, *image.size[::-1]) / 255


def content(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def without_seconds(rows: Sequence[Row]) -> list[Row]:
    return [{column: value for column, value in row.items() if column != "seconds"} for row in rows]


def without_shards(names: Iterable[str]) -> set[str]:
    """Paths of a folder's files; of cells only the folder and the kind of file, since shards may be cut differently."""
    return {re.sub(r"^(cells/\w+/)\d+", r"\1", name) for name in names}


def assert_same_run(one: Written, other: Written) -> None:
    """Equal in everything but time, and how images were cut into shards."""
    assert without_seconds(one.rows) == without_seconds(other.rows)
    assert one.trace == other.trace
    for name in ("maps", "logits", "masks", "noise"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(value, theirs[key]) for key, value in ours.items())
    assert one.run["cells"] == other.run["cells"]
    pictures = [{name: data for name, data in w.everything().items() if name.endswith(".png")} for w in (one, other)]
    assert pictures[0] == pictures[1]
    assert without_shards(one.everything()) == without_shards(other.everything())


def tables(lines: Sequence[str]) -> dict[str, list[list[str]]]:
    """The words of every row that a summary's tables show, by the interpreter whose name stands above.

    A heading may have two lines, of which only the second begins with ``attack``.
    """
    lines = [line for line in lines if line.split()[:2] not in (["peak", "on"], ["map", "to"])]
    found: dict[str, list[list[str]]] = {}
    for above, line in pairwise(lines):
        words = line.split()
        if words[:2] == ["attack", "joint"]:
            found[above.strip().rpartition(", ")[2]] = []
        elif found and words:
            found[list(found)[-1]].append(words)
    return found


def write_digits(folder: Path, indices: Sequence[int]) -> Path:
    """Images of digits:test as PNG files with a table of labels; returns the table."""
    data = uf.data.open_data("digits:test")
    (folder / "pictures").mkdir(parents=True)
    lines = ["file,label"]
    for index in indices:
        name = f"pictures/{index:03d}.png"
        data.read(index).save(folder / name)
        label = data.record(index).label
        lines.append(f"{name},{(label + 1) % 10 if index == MISLABELLED else label}")
    table = folder / "labels.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


def options(**changes: Any) -> list[str]:
    """The words of a small ``underfire attack``. None leaves an option out, True makes it a flag, a list repeats it."""
    chosen: dict[str, Any] = {
        "data": "digits:test",
        "classifier": "digits-resnet",
        "interpreter": "cam",
        "attack": "adv2",
        "eps": "0.2",
        "steps": "2,4",
        "count": 4,
        "no_page": True,
    }
    words = ["attack"]
    for name, value in (chosen | changes).items():
        flag = f"--{name.replace('_', '-')}"
        for each in value if isinstance(value, list) else [value]:
            if each is not None and each is not False:
                words += [flag] if each is True else [flag, str(each)]
    return words


@dataclass(frozen=True)
class Ended:
    """How a command ended: exit code, stdout, and stderr (also as words, since it is wrapped)."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return " ".join(self.err.split())


Command = Callable[..., Ended]


def make_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command line in this process, as the ``underfire`` script would."""

    from underfire import cli

    def run(*words: str | Path) -> Ended:
        monkeypatch.setattr(sys, "argv", ["underfire", *map(str, words)])
        capsys.readouterr()
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            with pytest.raises(SystemExit) as stopped:
                cli.main()
        out, err = capsys.readouterr()
        code = stopped.value.code
        return Ended(0 if code is None else int(code), out, err)

    return run


def process(*words: str | Path, **environment: str) -> subprocess.Popen[str]:
    """The command line in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "underfire.cli", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )
