"""Runs with invented results, so that tests know the numbers that a report must show."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

from underfire.attacks.measure import Measure
from underfire.attacks.measure_table import BUILT_IN
from underfire.reports.account import Account, accounts_of
from underfire.runs import Run
from underfire.runs.cells import Cell
from underfire.runs.columns import TRACE, schema
from underfire.runs.results import write_results
from underfire.runs.shard_files import Shard
from underfire.runs.store import Store

HEIGHT, WIDTH = 8, 12
NOISE = 0.1
KINDS = {"clean": "clean", "noise": "noise", "reseeded": "reseeded", "pgd": "control"}


@dataclass
class Fake:
    """An invented run.

    The attack fails on every fourth image. The map distance of image i is 0.02 (i + 1), and noise moves maps by 0.1.
    ``pgd`` is the attack on the prediction alone. Subclasses change these numbers.

    Args:
        ids: ids of the first images; the other images get ids of the form ``set/000``.
        keeps: the wanted maps are the benign maps.
        each: make one attack for each interpreter.
        rest: the number of images that were considered, but not attacked.
        own: names of user-defined measures; their values are 0.5.
    """

    count: int = 8
    interpreters: tuple[str, ...] = ("cam",)
    attack: str = "adv2"
    ids: tuple[str, ...] = ()
    class_names: tuple[str, ...] | None = ("ant", "bee", "cat")
    classifier: str = "toy"
    channels: int = 3
    trace: bool = False
    masks: bool = False
    size: tuple[int, int] = (HEIGHT, WIDTH)
    keeps: bool = True
    reseeded: bool = False
    noise_size: float | None = 8 / 255
    each: bool = False
    rest: int = 0
    own: tuple[str, ...] = ()

    def name(self, i: int) -> str:
        return self.ids[i] if i < len(self.ids) else f"set/{i:03d}"

    def success(self, i: int, attack: str) -> bool:
        return i % 4 != 3

    def class_changed_by_noise(self, i: int) -> bool:
        return False

    def distance(self, i: int, attack: str, reader: int = 0) -> float:
        """The distance to the benign map; if ``keeps``, that is the wanted map."""
        if attack == self.attack:
            return 0.02 * (i + 1) + 0.001 * reader
        return {"clean": 0.0, "noise": NOISE, "pgd": 0.3, "reseeded": 0.05}[attack]

    def to_wanted(self, i: int, attack: str, reader: int = 0) -> float:
        return self.distance(i, attack, reader)

    def mass_inside(self, i: int, attack: str) -> float | None:
        return None

    @property
    def attacks(self) -> list[str]:
        controls = ["clean", "noise", *(["reseeded"] if self.reseeded else []), "pgd"]
        return list(dict.fromkeys([*controls, self.attack]))

    def pixels(self, i: int, attack: str) -> np.ndarray:
        """Vertical stripes with brightness 10 i. Attacks add 3 to the left half, and subtract 3 from the right half."""
        height, width = self.size
        base = np.tile((np.arange(width) * 16 + 10 * i) % 200 + 20, (height, 1)).astype(np.int64)
        if attack not in ("clean", "reseeded"):
            base += np.where(np.arange(width) < width // 2, 3, -3) * (2 if attack == "pgd" else 1)
        picture = base.astype(np.uint8)
        return picture if self.channels == 1 else np.stack([picture, picture, 255 - picture], axis=-1)

    def map(self, i: int, attack: str) -> np.ndarray:
        if attack == "clean":  # far from those of other images, so that chance does not lower the limit
            return np.random.default_rng(i).integers(0, 2, (4, 6)).astype(np.float32)
        values = np.zeros((4, 6), dtype=np.float32)
        values[self.attacks.index(attack) % 4, i % 6] = 1
        return values

    def logits(self, i: int) -> torch.Tensor:
        """The logits of a clean image: the true class leads by 1 + i / 10."""
        return torch.eye(3)[i % 3] * (1 + i / 10)

    def mask(self) -> np.ndarray:
        mask = np.zeros(self.size, dtype=bool)
        mask[2:5, 3:9] = True
        return mask

    def write(self, folder: Path, configuration: dict[str, Any] | None = None, **record: Any) -> Path:
        """Write a finished run of one shard.

        Args:
            configuration: settings that differ from those of this class.
            record: entries of ``run.json`` that differ.
        """
        store = Store(folder, self._configuration() | (configuration or {}))
        cells = self.cells
        store.begin({"cells": [cell.to_dict() for cell in cells]})
        images = {"considered": self.count + max(self.rest, 2), "correctly_classified": self.count, "unreadable": []}
        for cell in cells:
            store.write_shard(cell.key, 0, self._shard(folder, cell))
        names = {"class_names": list(self.class_names)} if self.class_names else {}
        hashes = {"classifier_sha256": self.classifier, "data_sha256": "d" * 64}
        images["attacked"] = self.count
        kept = {"versions": {"torch": "2.13.0"}, "images": images, "shards": 1, "finished": True}
        store.update_run(**{**hashes, **kept, **names, **record})
        write_results(Run(folder))
        return folder

    def account(self, folder: Path, configuration: dict[str, Any] | None = None, **record: Any) -> Account:
        """Write the run, read it, and make the account of its first attack."""
        (account,) = accounts_of(Run(self.write(folder, configuration, **record)))
        return account

    @property
    def cells(self) -> list[Cell]:
        """The cells of the run; ``each`` has one attack for each interpreter."""
        alone = [name for name in self.attacks if name != self.attack]
        if not self.each:
            return [self._cell(attack, self.interpreters) for attack in self.attacks]
        attacks = [self._cell(self.attack, (name,), f"{self.attack}-{name}") for name in self.interpreters]
        return [*(self._cell(attack, self.interpreters) for attack in alone), *attacks]

    def _cell(self, attack: str, read_by: tuple[str, ...], label: str | None = None) -> Cell:
        kind: Any = "attack" if attack == self.attack else KINDS[attack]
        attacks = kind in ("attack", "control")
        label = label or attack
        return Cell(
            key=label.encode().hex()[-16:].rjust(16, "0"),
            label=label,
            kind=kind,
            attack=attack,
            read_by=read_by,
            attacked=read_by if kind == "attack" and attack != "pgd" else (),
            about=read_by if attacks else (),
            beside=self.attack if kind == "noise" else None,
            perturbation="pgd" if attacks else "",
            keeps_benign=self.keeps,
            joint=kind == "attack" and attack != "pgd",
            noise_size=self.noise_size if kind == "noise" else None,
        )

    def _shard(self, folder: Path, cell: Cell) -> Shard:
        attack, count = cell.attack, self.count + (self.rest if cell.kind == "clean" else 0)
        rows, maps = [], {name: [self.map(i, attack) for i in range(count)] for name in cell.read_by}
        for i in range(count):
            file = f"images/{cell.label}/{i:06d}-x.png"
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(self.pixels(i, attack)).save(folder / file)
            rows += [self._row(i, cell, name, file, self.interpreters.index(name)) for name in cell.read_by]
        tensors = {f"maps/{name}": torch.from_numpy(np.stack(values)) for name, values in maps.items()}
        if attack == "clean":
            tensors["logits"] = torch.stack([self.logits(i) for i in range(count)])
        if attack == "clean" and self.masks:
            tensors["masks"] = torch.from_numpy(np.stack([self.mask()] * count).astype(np.uint8))
        if attack == self.attack and not self.keeps:
            tensors |= {f"wanted/{name}": torch.ones(self.count, 4, 6) for name in cell.read_by}
        if cell.kind == "noise":
            drawn = torch.tensor([[self.distance(i, attack)] * 4 for i in range(count)], dtype=torch.float64)
            tensors |= {f"noise/{name}": drawn.clone() for name in cell.read_by}
        trace = self._trace(cell) if self.trace and attack in ("pgd", self.attack) else []
        words = {name: name.replace("_", " ") for name in self.own}
        own = [Measure(name, "map", "float", said, said, compute=lambda *_: None) for name, said in words.items()]
        measured = schema([*BUILT_IN, *own], settled=False)
        return Shard(pa.Table.from_pylist(rows, schema=measured), pa.Table.from_pylist(trace, schema=TRACE), tensors)

    def _row(self, i: int, cell: Cell, interpreter: str, file: str, reader: int) -> dict[str, Any]:
        attack = cell.attack
        distance = self.distance(i, attack, reader)
        attacked = attack in ("pgd", self.attack)
        reached = attacked and self.success(i, attack)
        changed = reached or (attack == "noise" and self.class_changed_by_noise(i))
        like = dict.fromkeys(("map_iou", "map_ssim", "map_spearman", "ssim"), 1 - distance)
        return {
            "position": i,
            "image_id": self.name(i),
            "path": f"photos/{self.name(i)}",
            "image_file": file,
            "label": i % 3,
            "target": (i + 1) % 3,
            "classifier": self.classifier,
            "attack": attack,
            "cell": cell.label,
            "interpreter": interpreter,
            "correct_before": i < self.count,
            "success": reached,
            "untargeted_success": changed,
            "confidence": 0.75,
            "linf": 3 / 255 if attack not in ("clean", "reseeded") else 0.0,
            "l2": 0.5,
            "edge_energy": 0.25,
            "map_l1": distance,
            "map_l2": distance,
            "map_l1_target": self.to_wanted(i, attack, reader),
            "map_mass_inside": self.mass_inside(i, attack),
            **like,
            **dict.fromkeys(("perturbation", "shaping", "attacked_interpreters"), ""),
            **dict.fromkeys(("steps", "forwards", "backwards", "seconds", "seed"), 1),
            **dict.fromkeys(self.own, 0.5),
        }

    def _configuration(self) -> dict[str, Any]:
        return {
            "data": "photos",
            "classifier": self.classifier,
            "interpreters": list(self.interpreters),
            "attack": self.attack,
            "eps": 8 / 255,
            "steps": [10, 40],
            "target_class": "random",
            "targeted": True,
        }

    def _trace(self, cell: Cell) -> list[dict[str, Any]]:
        """Invent a trace at the steps 0, 10, ..., 40; the joint stage begins at 10.

        Image 0 succeeds at once, and leaves the attack after step 20. All other images succeed at step 30. The attack
        on the prediction alone reads no maps.
        """
        rows, attack = [], cell.attack
        for i in range(self.count):
            for step in range(0, 50, 10):
                if i == 0 and step > 20:
                    continue
                stage = "joint" if step >= 10 else "warm-up"
                distance = None if step < 10 or attack == "pgd" else 0.5 - step / 100
                common = {"position": i, "image_id": self.name(i), "attack": attack, "cell": cell.label}
                course = {"stage": stage, "step": step, "success": i == 0 or step >= 30, "map_l1": distance}
                rows += [{**common, **course, "interpreter": name} for name in cell.read_by]
        return rows


def change_summary(folder: Path, change: Any) -> Path:
    """Call ``change`` on the content of ``summary.json``, and write it back."""
    summary = json.loads((folder / "summary.json").read_text())
    change(summary)
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder
