"""Folders as earlier versions wrote them (format 1), made from a run of today."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors.torch import save_file

from tests.runs.runs import Row, Written

CONTROL = "pgd"
"""The name of every control by signed steps in format 1, with and without a random start."""

COLUMNS = [
    "image_id",
    "path",
    "image_file",
    "label",
    "target",
    "classifier",
    "attack",
    "perturbation",
    "shaping",
    "attacked_interpreters",
    "interpreter",
    "correct_before",
    "success",
    "untargeted_success",
    "joint_success",
    "confidence",
    "map_l1",
    "map_l2",
    "map_iou",
    "map_ssim",
    "map_spearman",
    "map_l1_target",
    "ssim",
    "linf",
    "l2",
    "edge_energy",
    "steps",
    "forwards",
    "backwards",
    "seconds",
    "seed",
    "map_mass_inside",
    "map_peak_inside",
]


def as_before(written: Written, folder: Path) -> Path:
    """Write the run into ``folder`` as version 1 would have: one table, one file of maps, no cells."""
    control = written.summary["control"]

    def name(attack: str) -> str:
        return CONTROL if attack == control else attack

    folder.mkdir(parents=True)
    rows = [{column: row[column] for column in COLUMNS} | {"attack": name(row["attack"])} for row in written.rows]
    for row in rows:
        row["perturbation"] = CONTROL if row["perturbation"] == control else row["perturbation"]
        source = written.folder / row["image_file"]
        row["image_file"] = row["image_file"].replace(f"images/{control}/", f"images/{CONTROL}/")
        (folder / row["image_file"]).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, folder / row["image_file"])
    held = pq.read_schema(written.folder / "results.parquet")
    pq.write_table(
        pa.Table.from_pylist(rows, schema=pa.schema([held.field(c) for c in COLUMNS])), folder / "results.parquet"
    )
    maps = {
        "/".join([name(key.partition("/")[0]), key.partition("/")[2]]): value for key, value in written.maps.items()
    }
    save_file({key: value.contiguous() for key, value in maps.items()}, folder / "maps.safetensors")
    if written.masks:
        save_file({key: value.contiguous() for key, value in written.masks.items()}, folder / "masks.safetensors")
    pq.write_table(pa.Table.from_pylist(_trace(written.trace, name)), folder / "trace.parquet")
    kept = ("configuration", "data_sha256", "preparation", "interpreters", "class_names", "device", "versions")
    record: dict[str, Any] = {key: written.run[key] for key in (*kept, "torch_build")}
    record["classifier_sha256"] = written.run["weights_sha256"]
    record["attacks"] = {name(label): made for label, made in written.run["attacks"].items()}
    (folder / "run.json").write_text(json.dumps({**record, "finished": True}))
    (folder / "summary.json").write_text(json.dumps(_summary(written.summary, name)))
    return folder


def _trace(rows: list[Row], name: Any) -> list[Row]:
    """Per step the mean distance over the interpreters."""
    steps: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for row in rows:
        key = (row["image_id"], name(row["attack"]), row["stage"], row["step"], row["success"])
        steps[key].append(row["map_l1"])
    columns = ("image_id", "attack", "stage", "step", "success")
    return [dict(zip(columns, key, strict=True)) | {"map_l1": sum(v) / len(v)} for key, v in steps.items()]


def _summary(summary: dict[str, Any], name: Any) -> dict[str, Any]:
    found = json.loads(json.dumps({key: value for key, value in summary.items() if key not in ("format", "each")}))
    found["control"] = None if found["control"] is None else name(found["control"])
    if "joint_success_all" in found:
        found["joint_success_all"] = {name(attack): share for attack, share in found["joint_success_all"].items()}
    for part in found["interpreters"].values():
        part["attacks"] = {name(attack): means for attack, means in part["attacks"].items()}
    return dict(found)
