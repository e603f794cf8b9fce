"""What a run found, in numbers: joint success first, every mean with n and a 95 % interval."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from underfire import metrics

THRESHOLDS = [round(0.01 * step, 2) for step in range(51)]
_MEANS = (
    "success",
    "untargeted_success",
    "map_l1",
    "map_l2",
    "map_iou",
    "map_ssim",
    "map_spearman",
    "map_l1_target",
    "map_mass_inside",
    "map_peak_inside",
    "ssim",
    "linf",
    "l2",
    "edge_energy",
    "steps",
    "forwards",
    "backwards",
    "seconds",
)


def _values(rows: list[dict[str, Any]], column: str) -> list[Any]:
    return [row[column] for row in rows if row[column] is not None]


def _interval(values: list[Any]) -> dict[str, float | int | None]:
    return metrics.interval(values).to_dict()


@dataclass(frozen=True)
class Thresholds:
    """What a map's distance to its target is compared with: one limit for all images of an interpreter, or each
    image's own, of which ``limits`` has the mean; why; and whether that target is the benign map."""

    limits: dict[str, float]
    why: str
    benign: bool = True


def with_joint_success(table: pa.Table, benign: bool) -> tuple[pa.Table, Thresholds]:
    """The table with its ``joint_success`` column filled, and the thresholds.

    For the benign map as target (``benign``) the 95th percentile of the noise control's map distances; for another one
    half of the distance that the image's benign map has to it. An image that was misclassified before cannot be one,
    whatever its clean row says.
    """
    rows = table.to_pylist()
    known = "noise" if benign else "clean"
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["attack"] == known and row["correct_before"]:
            column = "map_l1" if benign else "map_l1_target"
            found.setdefault(row["interpreter"], {})[row["image_id"]] = row[column]
    limits: dict[str, dict[str, float]] = {}
    for name, values in found.items():
        if benign:
            limit = metrics.noise_threshold(torch.tensor(list(values.values()), dtype=torch.float64))
            limits[name] = dict.fromkeys(values, limit)
        else:
            limits[name] = {image: metrics.HALFWAY * value for image, value in values.items()}
    for row in rows:
        limit = limits[row["interpreter"]].get(row["image_id"], 0.0)
        row["joint_success"] = bool(row["success"] and row["map_l1_target"] < limit and row["correct_before"])
    why = "95th percentile of the noise control's map distance"
    why = why if benign else "half of the benign map's distance to the target map, image by image; the mean of these"
    means = {name: sum(values.values()) / len(values) for name, values in limits.items()}
    return pa.Table.from_pylist(rows, schema=table.schema), Thresholds(means, why, benign)


def summarise(
    table: pa.Table,
    thresholds: Thresholds,
    attack: str,
    control: str | None,
    considered: dict[str, Any],
    readers: Collection[str] = (),
) -> dict[str, Any]:
    """The content of ``summary.json``.

    Args:
        table: all rows, joint success filled.
        thresholds: of joint success.
        attack: the attack that was asked for.
        control: the attack on the prediction alone beside it, if there is one.
        considered: how images were selected; its ``considered`` is the denominator of success over all images.
        readers: the interpreters that were not attacked.
    """
    everything = table.to_pylist()
    ids = {row["image_id"] for row in everything if row["attack"] == attack}
    attacked = [row for row in everything if row["image_id"] in ids]
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in attacked:
        groups.setdefault((row["interpreter"], row["attack"]), []).append(row)
    names = sorted(dict.fromkeys(name for name, _ in groups), key=lambda name: name in readers)
    about = [row for row in attacked if row["interpreter"] not in readers]
    compared = [attack] if control is None else [attack, control]
    return {
        "joint_success": {name: _interval(_values(groups[name, attack], "joint_success")) for name in names},
        **({"joint_success_all": joint_success_all(about, compared)} if len(names) - len(readers) > 1 else {}),
        **({"readers": [name for name in names if name in readers]} if readers else {}),
        "attack": attack,
        "control": control,
        "target_map": "benign" if thresholds.benign else "other",
        "images": considered,
        "joint_success_threshold": {
            name: {"map_l1_below": value, "why": thresholds.why} for name, value in thresholds.limits.items()
        },
        "interpreters": {
            name: {
                "attacks": {
                    key: _group(rows, considered["considered"]) for (n, key), rows in groups.items() if n == name
                },
                "against_prediction_only": _against(groups, name, attack, control),
            }
            for name in names
        },
    }


def joint_success_all(rows: Sequence[dict[str, Any]], attacks: Sequence[str]) -> dict[str, Any]:
    """By attack, how many images got the class and kept (or reached) the map of every interpreter at once."""
    found: dict[str, Any] = {}
    for attack in attacks:
        kept: dict[str, bool] = {}
        for row in rows:
            if row["attack"] == attack:
                kept[row["image_id"]] = kept.get(row["image_id"], True) and row["joint_success"]
        found[attack] = _interval(list(kept.values()))
    return found


def _group(rows: list[dict[str, Any]], considered: int) -> dict[str, Any]:
    successes = [row for row in rows if row["success"]]
    overall = _values(rows, "success") + [False] * (considered - len(rows))
    distances = torch.tensor(_values(rows, "map_l1_target"), dtype=torch.float64)
    success = torch.tensor([bool(row["success"]) for row in rows])
    curve = metrics.joint_success_curve(success, distances, THRESHOLDS)
    return {
        "joint_success": _interval(_values(rows, "joint_success")),
        **{column: _interval(_values(rows, column)) for column in _MEANS},
        "success_over_all_images": _interval(overall),
        "confidence_of_successes": _interval(_values(successes, "confidence")),
        "map_l1_of_successes": _interval(_values(successes, "map_l1")),
        "joint_success_curve": {"thresholds": THRESHOLDS, "rates": [round(float(rate), 6) for rate in curve]},
    }


def _against(
    groups: dict[tuple[str, str], list[dict[str, Any]]], name: str, attack: str, control: str | None
) -> dict[str, Any] | None:
    """The attack against the prediction-only control, paired per image."""
    if control is None:
        return None
    ours = {row["image_id"]: row for row in groups[name, attack]}
    theirs = {row["image_id"]: row for row in groups[name, control]}
    ids = [image_id for image_id in ours if image_id in theirs]
    difference = {
        column: metrics.paired_difference(
            np.array([float(ours[i][column]) for i in ids]),
            np.array([float(theirs[i][column]) for i in ids]),
        ).to_dict()
        for column in ("joint_success", "success", "map_l1", "map_l1_target", "map_iou", "ssim")
    }
    curves = [
        metrics.joint_success_curve(
            torch.tensor([bool(rows[i]["success"]) for i in ids]),
            torch.tensor([rows[i]["map_l1_target"] for i in ids], dtype=torch.float64),
            THRESHOLDS,
        )
        for rows in (ours, theirs)
    ]
    gap = metrics.prediction_interpretation_gap(curves[0], curves[1], THRESHOLDS)
    return {"paired_difference": difference, "prediction_interpretation_gap": float(gap)}
