"""The table of measures: everything that is measured on an attacked image or on its maps, one entry each.

Columns of files, summaries, tables, pages and ``AttackResult`` all come from this table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from underfire import metrics
from underfire.attacks.aim import Aim
from underfire.attacks.outcome import Outcome
from underfire.errors import InputError
from underfire.registry import Registry, instances_of


@dataclass(frozen=True)
class Seen:
    """What measures are computed from: N images under one attack or control. Tensors lie on the CPU.

    Args:
        clean: the benign images N x C x H x W in [0, 1].
        images: the images that are judged, at 8 bits.
        logits: the honest logits of ``images``, N x K.
        labels: int64 N, the images' own classes.
        aim: what the attack wants (a control has the aim of the attack beside it); None for images that no attack
            is about.
        maps: the honest maps of ``images`` N x h x w in [0, 1], by interpreter.
        benign_maps: those of the benign images for their own classes.
        outcome: costs of the attack; None for controls without steps.
        masks: the objects' true masks, bool N x H x W, if the data know them.
    """

    clean: Tensor
    images: Tensor
    logits: Tensor
    labels: Tensor
    aim: Aim | None
    maps: Mapping[str, Tensor]
    benign_maps: Mapping[str, Tensor]
    outcome: Outcome | None = None
    masks: Tensor | None = None

    def target_map(self, interpreter: str) -> Tensor:
        """The wanted maps N x h x w of an interpreter: the benign maps if no attack is about the images."""
        if self.aim is None:
            return self.benign_maps[interpreter]
        return self.aim.maps[interpreter].to(self.maps[interpreter])


Compute = Callable[[Seen], Tensor | None] | Callable[[Seen, str], Tensor | None]


@dataclass(frozen=True)
class Measure:
    """One thing that is measured.

    Args:
        name: the name in files and in Python.
        per: ``image``, or ``map`` for one value per image and interpreter.
        kind: the type of a value: ``bool``, ``int`` or ``float``.
        heading: a short name for tables.
        meaning: a phrase that explains it to someone who has never seen it.
        digits: digits after the point in tables.
        better: ``higher`` or ``lower`` for the attacker; ``neither`` for costs and the like.
        compute: from ``Seen`` (and the interpreter's name, for measures per map) to N values; None if the value is not
            known for these images. A measure without ``compute`` is settled when results are read, since it needs
            limits that depend on all images.
    """

    name: str
    per: Literal["image", "map"]
    kind: Literal["bool", "int", "float"]
    heading: str
    meaning: str
    digits: int = 3
    better: Literal["higher", "lower", "neither"] = "neither"
    compute: Compute | None = None

    def values(self, seen: Seen, interpreter: str | None = None) -> Tensor | None:
        """Compute the measure, N values; None if it is not known for these images.

        Raises:
            InputError: a measure of the user's own returns something else than N values.
        """
        assert self.compute is not None
        arguments = (seen,) if interpreter is None else (seen, interpreter)
        found: Tensor | None = self.compute(*arguments)
        if found is None:
            return None
        if not isinstance(found, Tensor) or found.shape != (len(seen.images),):
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(f"measure {self.name!r} returns {shape}; expected a tensor of {len(seen.images)} values.")
        return found.cpu()


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
    Measure("joint_success", "map", "bool", "joint", "class reached and map kept", better="higher"),
    Measure("joint_success_all", "image", "bool", "joint, all", "class reached and all maps kept", better="higher"),
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
        compute=_confidence,
    ),
    Measure(
        "map_l1",
        "map",
        "float",
        "map L1",
        "mean absolute difference from the benign map",
        better="lower",
        compute=_against_benign(metrics.map_l1),
    ),
    Measure(
        "map_l2",
        "map",
        "float",
        "map L2",
        "root mean square difference from the benign map",
        better="lower",
        compute=_against_benign(metrics.map_l2),
    ),
    Measure(
        "map_iou",
        "map",
        "float",
        "map IoU",
        "overlap with the benign map, both above 0.5",
        better="higher",
        compute=_against_benign(metrics.map_iou),
    ),
    Measure(
        "map_ssim",
        "map",
        "float",
        "map SSIM",
        "structural similarity to the benign map",
        better="higher",
        compute=_against_benign(metrics.map_ssim),
    ),
    Measure(
        "map_spearman",
        "map",
        "float",
        "map rank",
        "Spearman correlation with the benign map",
        better="higher",
        compute=_against_benign(metrics.map_spearman),
    ),
    Measure(
        "map_l1_target",
        "map",
        "float",
        "to target",
        "mean absolute difference from the wanted map",
        better="lower",
        compute=lambda seen, name: metrics.map_l1(seen.maps[name], seen.target_map(name)),
    ),
    Measure(
        "ssim",
        "image",
        "float",
        "image SSIM",
        "structural similarity to the clean image",
        better="higher",
        compute=_against_clean(metrics.ssim),
    ),
    Measure(
        "linf",
        "image",
        "float",
        "image L-inf",
        "largest change of a pixel value",
        better="lower",
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
        compute=_against_clean(metrics.l2),
    ),
    Measure(
        "edge_energy",
        "image",
        "float",
        "on edges",
        "share of the change's energy on the image's edges",
        compute=_against_clean(metrics.edge_energy),
    ),
    Measure("steps", "image", "int", "steps", "steps that the attack ran", 0, compute=_cost("steps")),
    Measure("forwards", "image", "int", "forwards", "forward passes of the attack", 0, compute=_cost("forwards")),
    Measure("backwards", "image", "int", "backwards", "backward passes of the attack", 0, compute=_cost("backwards")),
    Measure("seconds", "image", "float", "s/image", "seconds of the attack's loop per image", 2, compute=_seconds),
    Measure(
        "map_mass_inside",
        "map",
        "float",
        "mass on object",
        "share of the map's mass inside the object's true mask",
        compute=_inside(metrics.mass_inside),
    ),
    Measure(
        "map_peak_inside",
        "map",
        "bool",
        "peak on object",
        "share of images whose map peaks inside the object's true mask",
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

Values = dict[str, Tensor | dict[str, Tensor]]


def chosen_measures(more: Sequence[Measure | str] = ()) -> tuple[Measure, ...]:
    """Return all known measures, and ``more``: measures, or ``file.py:name``.

    Raises:
        InputError: two measures have one name.
    """
    found = dict(MEASURES.items())
    for each in more:
        measure = MEASURES.find(each) if isinstance(each, str) else each
        if found.get(measure.name, measure) != measure:
            raise InputError(f"measure {measure.name!r} exists already: give yours another name.")
        found[measure.name] = measure
    return tuple(found.values())


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
