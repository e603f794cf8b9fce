"""The summary of a run: joint success first, every mean with n and a 95 % interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from underfire import metrics
from underfire.attacks.measure import Measure
from underfire.attacks.measures import MEASURES
from underfire.runs.comparison import Comparison
from underfire.runs.folder import Folder
from underfire.runs.significance import PAIRED, PValues, p_values
from underfire.runs.store import FORMAT

THRESHOLDS = [round(0.01 * step, 2) for step in range(51)]


def interval(values: Any, bounds: metrics.Bounds = metrics.ANY) -> dict[str, float | int | None]:
    """Compute the mean of the known values with its interval, as JSON values.

    Args:
        values: one value per image; NaN where it is unknown.
        bounds: the least and the largest value that there can be; see ``Measure``.
    """
    values = np.asarray(values)
    if values.dtype != bool:
        values = values[~np.isnan(values)]
    return metrics.interval(values, bounds).to_dict()


def summarise(files: Folder, comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Make the content of ``summary.json``: for each interpreter, the attack on it beside its controls.

    If the attacks have several eps, ``by_eps`` holds such results for each of them. If one interpreter reads several
    attacks of one eps, as in a transfer, ``by_attack`` holds such results for each attack.
    """
    first, tested = comparisons[0], p_values(comparisons)
    radii: dict[float | None, list[Comparison]] = {}
    for part in comparisons:
        radii.setdefault(part.cell.eps, []).append(part)
    results: dict[str, Any]
    if any(_share_interpreters(parts) for parts in radii.values()):
        entries = [(part, {"cell": part.cell.label, "eps": part.cell.eps}) for part in comparisons]
        results = {"by_attack": [entry | _results(files, [part], tested) for part, entry in entries]}
    elif len(radii) > 1:
        results = {"by_eps": [{"eps": eps} | _results(files, parts, tested) for eps, parts in radii.items()]}
    else:
        results = _results(files, comparisons, tested)
    return results | {
        "format": FORMAT,
        "attack": first.cell.attack,
        "control": None if first.control is None else files.cells[first.labels["control"]].attack,
        "each": len({part.cell.about for part in comparisons}) > 1,
        "target_map": "benign" if first.keeps else "other",
        "images": files.images,
        **({"readers": first.readers} if first.readers else {}),
    }


def _share_interpreters(comparisons: Sequence[Comparison]) -> bool:
    """Return True if one interpreter reads several of these attacks."""
    names = [name for part in comparisons for name in part.interpreters]
    return len(set(names)) < len(names)


def _results(files: Folder, comparisons: Sequence[Comparison], tested: PValues) -> dict[str, Any]:
    """Summarise attacks on different interpreters.

    Args:
        tested: the p-values of all attacks of the run.
    """
    found: dict[str, Any] = {
        "joint_success": {name: joint(part, "attack", [name]) for part in comparisons for name in part.interpreters},
    }
    for part in comparisons:
        if len(part.attacked) > 1:
            roles = [role for role in ("attack", "control") if part.has(role)]
            names = {role: files.cells[part.labels[role]].attack for role in roles}
            found["joint_success_all"] = {names[role]: joint(part, role, part.attacked) for role in roles}
            if part.has("control"):
                found["joint_success_all_gap"] = gap(part, part.attacked)
    return found | {
        "joint_success_gap": {
            name: gap(part, [name]) for part in comparisons for name in part.interpreters if part.has("control")
        },
        "chance": {name: chance(part, name) for part in comparisons for name in part.interpreters},
        "joint_success_threshold": {name: limit(part, name) for part in comparisons for name in part.interpreters},
        "interpreters": {
            name: {
                "attacks": {
                    files.cells[label].attack: group(part, role, name, files.measures, files.images["considered"])
                    for role, label in part.labels.items()
                },
                "against_prediction_only": _with_p_values(against_control(part, name), tested, part, name),
            }
            for part in comparisons
            for name in part.interpreters
        },
    }


def _with_p_values(found: dict[str, Any] | None, tested: PValues, part: Comparison, name: str) -> dict[str, Any] | None:
    return None if found is None else found | {"p_values": tested[part.cell.label, name]}


def joint(part: Comparison, role: str, interpreters: Sequence[str]) -> dict[str, Any]:
    """Compute joint success of all ``interpreters`` at once; images and limit are resampled together."""
    return part.intervals.joint(part.outcome(role, interpreters)).to_dict()


def gap(part: Comparison, interpreters: Sequence[str]) -> dict[str, Any]:
    """Compute joint success of the attack minus that of the prediction-only control, paired per image."""
    outcomes = (part.outcome(role, interpreters) for role in ("attack", "control"))
    return part.intervals.gap(*outcomes).to_dict()


def chance(part: Comparison, interpreter: str) -> dict[str, Any]:
    """Compute how often maps pass that have nothing to do with the image: ``other_map`` and ``average_map``."""
    return {f"{what}_map": share.to_dict() for what, share in part.intervals.chance[interpreter].items()}


def limit(part: Comparison, interpreter: str) -> dict[str, Any]:
    """Describe the limit of an interpreter: its mean, its origin, and what each origin would allow."""
    settled = part.limits[interpreter]
    found: dict[str, Any] = {"map_l1_below": settled.mean, "why": settled.why, "set_by": settled.set_by}
    if settled.keeps:
        found |= {
            "interval": part.intervals.limit(interpreter).to_dict(),
            "noise_draws": settled.draws,
            "by_noise": settled.by_noise,
            "by_other_map": known(settled.by_other),
            "by_average_map": known(settled.by_average),
        }
    return found


def known(value: float) -> float | None:
    """Return the value; None if it is infinite, because there was nothing to make it from."""
    return value if np.isfinite(value) else None


def group(
    part: Comparison, role: str, interpreter: str, measures: Sequence[Measure], considered: int
) -> dict[str, Any]:
    """Summarise one cell as read by one interpreter."""
    success = np.asarray(part.column(role, interpreter, "success"), dtype=bool)
    distance = part.distances(interpreter, role)
    overall = np.concatenate([success, np.zeros(considered - len(success), dtype=bool)])
    curve = metrics.joint_success_curve(torch.from_numpy(success), torch.from_numpy(distance), THRESHOLDS)
    means = {
        measure.name: interval(_typed(part.column(role, interpreter, measure.name), measure), measure.bounds)
        for measure in averaged(measures)
    }
    return {
        "joint_success": joint(part, role, [interpreter]),
        "joint_success_own_limit": interval(part.joint(role, interpreter, own=True)),
        **means,
        "success_over_all_images": interval(overall),
        **{
            f"{name}_of_successes": interval(
                np.asarray(part.column(role, interpreter, name))[success], MEASURES[name].bounds
            )
            for name in ("confidence", "map_l1")
        },
        "joint_success_curve": {"thresholds": THRESHOLDS, "rates": [round(float(rate), 6) for rate in curve]},
    }


def averaged(measures: Sequence[Measure]) -> list[Measure]:
    """Return the measures whose means over all images ``group`` holds."""
    return [each for each in measures if not each.name.startswith("joint_success") and each.name != "confidence"]


def _typed(values: Any, measure: Measure) -> Any:
    """Turn known values of a measure that is a flag back into flags, so that they get the interval of a rate."""
    if measure.kind == "bool" and values.dtype != bool:
        return values[~np.isnan(values)].astype(bool)
    return values


def against_control(part: Comparison, interpreter: str) -> dict[str, Any] | None:
    """Compare the attack with the prediction-only control, paired per image."""
    if not part.has("control"):
        return None
    difference = {"joint_success": gap(part, [interpreter])} | {
        name: metrics.paired_difference(
            np.asarray(part.column("attack", interpreter, name)),
            np.asarray(part.column("control", interpreter, name)),
            bounds=MEASURES[name].bounds,
        ).to_dict()
        for name in PAIRED
    }
    curves = [
        metrics.joint_success_curve(
            torch.from_numpy(np.asarray(part.column(role, interpreter, "success"), dtype=bool)),
            torch.from_numpy(part.distances(interpreter, role)),
            THRESHOLDS,
        )
        for role in ("attack", "control")
    ]
    area = metrics.prediction_interpretation_gap(curves[0], curves[1], THRESHOLDS)
    return {"paired_difference": difference, "prediction_interpretation_gap": float(area)}
