"""Runs made by hand, so that what a report must say about them is known."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from safetensors.numpy import save_file
from underfire.runs.schema import RESULTS, TRACE

from underfire.runs.summary import summarise, with_joint_success

HEIGHT, WIDTH = 8, 12
NOISE = 0.1


@dataclass
class Fake:
    """What the images of a run are called, and how the attack went: by default every fourth fails, and the map distance
    of image i is 0.02 (i + 1), where noise moves maps by 0.1."""

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

    def name(self, i: int) -> str:
        return self.ids[i] if i < len(self.ids) else f"set/{i:03d}"

    def success(self, i: int) -> bool:
        return i % 4 != 3

    def distance(self, i: int, attack: str, reader: int = 0) -> float:
        if attack == self.attack:
            return 0.02 * (i + 1) + 0.001 * reader
        return {"clean": 0.0, "noise": NOISE, "pgd": 0.3}[attack]

    @property
    def attacks(self) -> list[str]:
        return list(dict.fromkeys(["clean", "noise", "pgd", self.attack]))

    def pixels(self, i: int, attack: str) -> np.ndarray:
        """Vertical stripes, 10 i bright; the attacks add 3 levels to the left half, and take 3 from the right."""
        height, width = self.size
        base = np.tile((np.arange(width) * 16 + 10 * i) % 200 + 20, (height, 1)).astype(np.int64)
        if attack not in ("clean",):
            base += np.where(np.arange(width) < width // 2, 3, -3) * (2 if attack == "pgd" else 1)
        picture = base.astype(np.uint8)
        return picture if self.channels == 1 else np.stack([picture, picture, 255 - picture], axis=-1)

    def map(self, i: int, attack: str) -> np.ndarray:
        values = np.zeros((4, 6), dtype=np.float32)
        values[self.attacks.index(attack) % 4, i % 6] = 1
        return values

    def mask(self) -> np.ndarray:
        mask = np.zeros(self.size, dtype=bool)
        mask[2:5, 3:9] = True
        return mask

    def write(self, folder: Path, **record: Any) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        rows, maps = [], {}
        for i in range(self.count):
            for attack in self.attacks:
                file = f"images/{attack}/{i:06d}-x.png"
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(self.pixels(i, attack)).save(folder / file)
                for reader, interpreter in enumerate(self.interpreters):
                    rows.append(self._row(i, attack, interpreter, file, reader))
                    maps[f"{attack}/{interpreter}/{self.name(i)}"] = self.map(i, attack)
        table, limits = with_joint_success(pa.Table.from_pylist(rows, schema=RESULTS), True)
        images = {
            "attacked": self.count,
            "considered": self.count + 2,
            "correctly_classified": self.count,
            "unreadable": [],
        }
        summary = summarise(table, limits, self.attack, None if self.attack == "pgd" else "pgd", images)
        pq.write_table(table, folder / "results.parquet")
        save_file(maps, folder / "maps.safetensors")
        (folder / "summary.json").write_text(json.dumps(summary))
        (folder / "run.json").write_text(json.dumps(self._record() | record))
        if self.masks:
            save_file({self.name(i): self.mask() for i in range(self.count)}, folder / "masks.safetensors")
        if self.trace:
            pq.write_table(pa.Table.from_pylist(self._trace(), schema=TRACE), folder / "trace.parquet")
        return folder

    def _row(self, i: int, attack: str, interpreter: str, file: str, reader: int) -> dict[str, Any]:
        attacked = attack in ("pgd", self.attack)
        distance = self.distance(i, attack, reader)
        reached = attacked and self.success(i)
        numbers = dict.fromkeys(("map_l1", "map_l2", "map_l1_target"), distance)
        like = dict.fromkeys(("map_iou", "map_ssim", "map_spearman", "ssim"), 1 - distance)
        return {
            "image_id": self.name(i),
            "path": f"photos/{self.name(i)}",
            "image_file": file,
            "label": i % 3,
            "target": (i + 1) % 3,
            "classifier": self.classifier,
            "attack": attack,
            "interpreter": interpreter,
            "correct_before": True,
            "success": reached,
            "untargeted_success": reached,
            "joint_success": False,
            "confidence": 0.75,
            "linf": 3 / 255 if attack != "clean" else 0.0,
            "l2": 0.5,
            "edge_energy": 0.25,
            **numbers,
            **like,
            **dict.fromkeys(("perturbation", "shaping", "attacked_interpreters"), ""),
            **dict.fromkeys(("steps", "forwards", "backwards", "seconds", "seed"), 1),
        }

    def _record(self) -> dict[str, Any]:
        configuration = {"data": "photos", "classifier": self.classifier, "interpreters": list(self.interpreters)}
        configuration |= {
            "attack": self.attack,
            "eps": 8 / 255,
            "steps": [10, 40],
            "target": "random",
            "targeted": True,
        }
        names = {"class_names": list(self.class_names)} if self.class_names else {}
        hashes = {"classifier_sha256": self.classifier, "data_sha256": "d" * 64}
        return {"configuration": configuration, **hashes, "versions": {"torch": "2.13.0"}, **names, "finished": True}

    def _trace(self) -> list[dict[str, Any]]:
        """Steps 0, 10, ..., 40; joint from 10. Image 0 leaves after step 20; it succeeds at once, the others at 30."""
        rows = []
        for i in range(self.count):
            for step in range(0, 50, 10):
                if i == 0 and step > 20:
                    continue
                stage = "joint" if step >= 10 else "warm-up"
                distance = None if step < 10 else 0.5 - step / 100
                common = {"image_id": self.name(i), "stage": stage, "step": step, "success": i == 0 or step >= 30}
                rows.append({**common, "attack": self.attack, "map_l1": distance})
                rows.append({**common, "attack": "pgd", "map_l1": float("nan")})
        return rows
