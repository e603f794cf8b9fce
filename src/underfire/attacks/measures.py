"""The table of measures: everything that is measured on an attacked image or on its maps, one entry each.

Columns of files, summaries, tables, pages and ``AttackResult`` all come from this table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from underfire import metrics
from underfire.attacks.measure import Measure, Seen
from underfire.errors import InputError
from underfire.registry import Registry, instances_of, left_out


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

MEASURES: Registry[Measure] = Registry(
    "measure",
    "underfire.measures",
    {measure.name: measure for measure in BUILT_IN},
    instances_of(Measure, "the measure"),
)
"""All measures by name, in the order of columns."""

TAKEN = frozenset(
    (
        # columns of a run's results
        *("position", "image_id", "path", "image_file", "label", "target", "classifier", "attack", "cell"),
        *("perturbation", "shaping", "eps", "attacked_interpreters", "interpreter", "correct_before", "seed"),
        # attributes of judgements and results
        *("images", "adversarial", "labels", "logits", "explained", "maps", "benign_maps", "target_maps"),
        *("map_limit", "values", "controls", "best_step", "trace", "build", "to", "summary", "map_threshold"),
        *("limits", "attacked", "prediction_only", "figure", "to_pandas", "class_names"),
        "noise_map_l1",
        # entries of summaries
        *("success_over_all_images", "confidence_of_successes", "map_l1_of_successes"),
    )
)
"""Names that no measure may have, because results use them for something else. So are names that begin with
``joint_success``."""

Values = dict[str, Tensor | dict[str, Tensor]]


def chosen_measures(more: Measure | str | Iterable[Measure | str] = ()) -> tuple[Measure, ...]:
    """Return all known measures, and ``more``: one or more measures, or ``file.py:name``.

    Raises:
        InputError: one of ``more`` has the name of another measure or of a column of results, or no ``compute``.
            Such a measure of an installed package is left out, with a warning.
    """
    found = {measure.name: measure for measure in BUILT_IN}
    for name, measure in MEASURES.items():
        if found.get(name) is not measure:
            with left_out(f"measure {name!r}"):
                _add(found, measure)
    for each in more if isinstance(more, Iterable) and not isinstance(more, str) else (more,):
        _add(found, MEASURES.find(each))
    return tuple(found.values())


def _add(found: dict[str, Measure], measure: Measure) -> None:
    if found.get(measure.name, measure) != measure:
        raise InputError(f"measure {measure.name!r} exists already: give yours another name.")
    if measure.name in TAKEN or (measure.name.startswith(("joint_success", "_")) and measure.name not in found):
        raise InputError(f"measure {measure.name!r} has a name that results use already: give it another name.")
    if not callable(measure.compute) and measure.name not in found:
        raise InputError(
            f"measure {measure.name!r} has compute={measure.compute!r}; expected a function that takes Seen, and for a "
            "measure per map the interpreter's name."
        )
    found[measure.name] = measure


def measure_all(seen: Seen, measures: Sequence[Measure]) -> Values:
    """Compute all measures of one attack or control: N values by name, or by name and interpreter."""
    found: Values = {}
    for measure in measures:
        if measure.compute is None:
            continue
        if measure.per == "image":
            values = measure.values(seen)
            if values is not None:
                found[measure.name] = values
        else:
            by_map = {name: measure.values(seen, name) for name in seen.maps}
            known = {name: values for name, values in by_map.items() if values is not None}
            if known:
                found[measure.name] = known
    return found
