"""The measures that underfire brings: everything that is measured on an attacked image or on its maps, one entry each.

Columns of files, summaries, tables, pages and ``AttackResult`` all come from this table.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from underfire import metrics
from underfire.attacks.measure import Measure, Seen


def _cost(name: str) -> Callable[[Seen], Tensor]:
    def compute(seen: Seen) -> Tensor:
        if seen.outcome is None:
            return torch.zeros(len(seen.images), dtype=torch.int64)
        values: Tensor = getattr(seen.outcome, name)
        return values

    return compute


def _success(seen: Seen) -> Tensor:
    if seen.aim is None:
        return seen.logits.argmax(1) != seen.labels
    return seen.aim.goal.reached(seen.logits, seen.aim.classes.cpu())


def _confidence(seen: Seen) -> Tensor:
    if seen.aim is None:
        return seen.logits.softmax(1).gather(1, seen.labels.unsqueeze(1)).squeeze(1)
    return seen.aim.goal.probability(seen.logits, seen.aim.classes.cpu())


def _seconds(seen: Seen) -> Tensor:
    total = 0.0 if seen.outcome is None else seen.outcome.seconds
    return torch.full((len(seen.images),), total / len(seen.images), dtype=torch.float64)


def _against_benign(metric: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Seen, str], Tensor]:
    return lambda seen, name: metric(seen.maps[name], seen.benign_maps[name])


def _against_clean(metric: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Seen], Tensor]:
    return lambda seen: metric(seen.clean, seen.images)


def _inside(metric: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Seen, str], Tensor | None]:
    return lambda seen, name: None if seen.masks is None else metric(seen.maps[name], seen.masks)


BUILT_IN = (
    Measure("joint_success", "map", "bool", "joint", "class reached and map as wanted", better="higher"),
    Measure(
        "joint_success_all", "image", "bool", "joint, all", "class reached and all maps as wanted", better="higher"
    ),
    Measure(
        "joint_success_own_limit",
        "map",
        "bool",
        "joint, own limit",
        "as joint success, with the limit of each image's own noise",
        better="higher",
    ),
    Measure(
        "chance_other_map",
        "map",
        "float",
        "chance, other",
        "share of other images' maps that would pass",
        bounds=metrics.UNIT,
    ),
    Measure("chance_average_map", "map", "bool", "chance, average", "the average map would pass"),
    Measure("success", "image", "bool", "success", "class reached", better="higher", compute=_success),
    Measure(
        "untargeted_success",
        "image",
        "bool",
        "any wrong",
        "class is not the image's own",
        better="higher",
        compute=lambda seen: seen.logits.argmax(1) != seen.labels,
    ),
    Measure(
        "confidence",
        "image",
        "float",
        "confidence",
        "probability of the wanted class",
        better="higher",
        bounds=metrics.UNIT,
        compute=_confidence,
    ),
    Measure(
        "map_l1",
        "map",
        "float",
        "map L1",
        "mean absolute difference from the benign map",
        better="lower",
        bounds=metrics.UNIT,
        compute=_against_benign(metrics.map_l1),
    ),
    Measure(
        "map_l2",
        "map",
        "float",
        "map L2",
        "root mean square difference from the benign map",
        better="lower",
        bounds=metrics.UNIT,
        compute=_against_benign(metrics.map_l2),
    ),
    Measure(
        "map_iou",
        "map",
        "float",
        "map IoU",
        "overlap with the benign map, both above 0.5",
        better="higher",
        bounds=metrics.UNIT,
        compute=_against_benign(metrics.map_iou),
    ),
    Measure(
        "map_ssim",
        "map",
        "float",
        "map SSIM",
        "structural similarity to the benign map",
        better="higher",
        bounds=metrics.SIGNED,
        compute=_against_benign(metrics.map_ssim),
    ),
    Measure(
        "map_spearman",
        "map",
        "float",
        "map rank",
        "Spearman correlation with the benign map",
        better="higher",
        bounds=metrics.SIGNED,
        compute=_against_benign(metrics.map_spearman),
    ),
    Measure(
        "map_l1_target",
        "map",
        "float",
        "map to target",
        "mean absolute difference from the wanted map",
        better="lower",
        bounds=metrics.UNIT,
        compute=lambda seen, name: metrics.map_l1(seen.maps[name], seen.target_map(name)),
    ),
    Measure(
        "ssim",
        "image",
        "float",
        "image SSIM",
        "structural similarity to the clean image",
        better="higher",
        bounds=metrics.SIGNED,
        compute=_against_clean(metrics.ssim),
    ),
    Measure(
        "linf",
        "image",
        "float",
        "image L-inf",
        "largest change of a pixel value",
        better="lower",
        bounds=metrics.UNIT,
        compute=_against_clean(metrics.linf),
    ),
    Measure(
        "l2",
        "image",
        "float",
        "image L2",
        "Euclidean length of the change, pixels in [0, 1]",
        2,
        better="lower",
        bounds=metrics.POSITIVE,
        compute=_against_clean(metrics.l2),
    ),
    Measure(
        "edge_energy",
        "image",
        "float",
        "on edges",
        "share of the change's energy on the image's edges",
        bounds=metrics.UNIT,
        compute=_against_clean(metrics.edge_energy),
    ),
    Measure(
        "steps",
        "image",
        "int",
        "steps",
        "steps that the attack ran",
        0,
        bounds=metrics.POSITIVE,
        compute=_cost("steps"),
    ),
    Measure(
        "forwards",
        "image",
        "int",
        "forwards",
        "forward passes of the attack",
        0,
        bounds=metrics.POSITIVE,
        compute=_cost("forwards"),
    ),
    Measure(
        "backwards",
        "image",
        "int",
        "backwards",
        "backward passes of the attack",
        0,
        bounds=metrics.POSITIVE,
        compute=_cost("backwards"),
    ),
    Measure(
        "seconds",
        "image",
        "float",
        "s/image",
        "seconds of the attack's loop per image",
        2,
        bounds=metrics.POSITIVE,
        compute=_seconds,
    ),
    Measure(
        "map_mass_inside",
        "map",
        "float",
        "mass on object",
        "share of the map's mass inside the object's true mask",
        bounds=metrics.UNIT,
        compute=_inside(metrics.mass_inside),
    ),
    Measure(
        "map_peak_inside",
        "map",
        "bool",
        "peak on object",
        "the map's highest point lies inside the object's true mask",
        compute=_inside(metrics.peak_inside),
    ),
)
