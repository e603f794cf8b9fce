"""Variants: underfire's own settings (``paper``), and those of the published experiments (``published``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

EdgeScope = Literal["all", "warmup"]


@dataclass(frozen=True)
class Variant:
    """The settings that differ between paper and published experiments.

    Args:
        name: the variant's name.
        smoothing_shares: label smoothing takes a probability from the target class and divides it among this many
            classes, whatever the real number is; among all other classes if None.
        keep_last: keep the last iterate instead of the best one, unless a confidence ranks iterates.
        early_stop: let images leave that no longer improve, if the weights are constant at the end.
        edge_scope: edges act in ``all`` stages and in the saved image, or in the ``warmup`` alone.
        graded_mask: AdvEdge+ with C&W or StAdv weighs edge pixels by their magnitude instead of 1.
        raw_logit: AdvEdge's warm-up on CAM and RTS minimises minus the target's logit instead of the cross-entropy.
        warmup_constant: the factor of the prediction term in C&W's warm-up; at 1e-4 the distortion outweighs it, and
            nothing moves.
        grid_probabilities: ``adaptive`` leads images to the class probabilities that the rule ``grid`` found, instead
            of evading the bit depth on the image itself. Where iterates are ranked (see ``keep_last``), those that the
            bit depth would not notice rank first all the same.
        neighbours: the neighbours of a pixel in the roughness of StAdv's flow: the 4 ``adjacent`` or ``diagonal`` ones.
    """

    name: str
    smoothing_shares: int | None = None
    keep_last: bool = False
    early_stop: bool = True
    edge_scope: EdgeScope = "all"
    graded_mask: bool = False
    raw_logit: bool = False
    warmup_constant: float = 1.0
    neighbours: Literal["adjacent", "diagonal"] = "adjacent"
    grid_probabilities: bool = False


@dataclass(frozen=True)
class Difference:
    """A difference between the variants, for ``underfire list presets``.

    Args:
        topic: the setting.
        paper, published: its value in each variant, in words.
        alone: the way to change this setting alone.
        field: its field in ``Variant``; None if it is a setting of an interpreter.
    """

    topic: str
    paper: str
    published: str
    alone: str
    field: str | None


DIFFERENCES = (
    Difference(
        "the image that is kept",
        "of all steps, the successful image with the nearest map",
        "the image of the last step; family grad, which ranks by confidence: as paper",
        "Python: Variant.keep_last",
        "keep_last",
    ),
    Difference(
        "label smoothing (family grad under pgd, bim)",
        "the other K - 1 classes share 0.05",
        "each other class gets 0.05 / 9, whatever K is",
        "Python: Variant.smoothing_shares",
        "smoothing_shares",
    ),
    Difference(
        "pixels that Grad's view differentiates by",
        "pixels in [0, 1], as for the honest map",
        "normalised pixels",
        "Python: Grad(view_pixels=...)",
        None,
    ),
    Difference(
        "early stop",
        "family grad: an image stops if it succeeds and its map no longer improves",
        "none",
        "--early-stop, --no-early-stop",
        "early_stop",
    ),
    Difference(
        "edges (advedge, advedge+)",
        "act in every stage and in the saved image",
        "act in the warm-up alone",
        "--edge-scope",
        "edge_scope",
    ),
    Difference(
        "advedge+ under cw and stadv",
        "pixels whose edge e exceeds the threshold have weight 1",
        "they have weight e",
        "Python: Variant.graded_mask",
        "graded_mask",
    ),
    Difference(
        "warm-up of advedge, advedge+ on CAM and RTS",
        "cross-entropy",
        "minus the target's raw logit, which has no lower bound",
        "Python: Variant.raw_logit",
        "raw_logit",
    ),
    Difference(
        "warm-up of cw",
        "the same weights as in the joint stage",
        "the prediction term times 1e-4: nothing moves",
        "Python: Variant.warmup_constant",
        "warmup_constant",
    ),
    Difference(
        "neighbours in the roughness of stadv",
        "the four adjacent pixels",
        "the four diagonal pixels",
        "Python: perturbation=StAdv(neighbours=...)",
        "neighbours",
    ),
    Difference(
        "adaptive, adaptive-auto: how they pass the bit depth",
        "the image and its coarse image get the same prediction; gradients pass rounding straight",
        "the image gets the prediction of a coarse image that was found first",
        "Python: Variant.grid_probabilities",
        "grid_probabilities",
    ),
)
"""All differences between the variants; see ``docs/concepts.md``."""


@dataclass(frozen=True)
class Departure:
    """A point in which ``published`` is not what the authors' code does, for ``underfire list presets``.

    Args:
        topic: the setting.
        theirs: what the authors' code does.
        ours: what ``published`` does.
    """

    topic: str
    theirs: str
    ours: str


DEPARTURES = (
    Departure(
        "the image that is kept for mask",
        "of every 50th step, the best successful image at 8 bits",
        "the image of the last step",
    ),
    Departure(
        "warm-up of advedge, advedge+ on CAM under stadv",
        "cross-entropy with weight 1",
        "minus the target's raw logit with weight 2",
    ),
    Departure(
        "warm-up of advedge, advedge+ on CAM under cw",
        "a margin",
        "minus the target's raw logit",
    ),
    Departure(
        "weight of the cross-entropy under stadv in warm-ups, in the joint stage of grad, and for rts",
        "1",
        "2",
    ),
    Departure(
        "weight of the flow's roughness in the warm-up of mask under stadv",
        "0.0005",
        "0.004, as in the joint stage",
    ),
    Departure(
        "label smoothing of advedge, advedge+",
        "in the joint stages of CAM and RTS, too (divided by 9), and not in the warm-up of grad",
        "in both stages of grad alone",
    ),
    Departure(
        "steps of mask's solver that are differentiated",
        "the mask is detached between two steps",
        "the gradient goes through all of these steps",
    ),
)
"""Points in which the published code, as far as it has been read, does something else than ``published``."""

VARIANTS: Mapping[str, Variant] = MappingProxyType(
    {
        "paper": Variant("paper"),
        "published": Variant(
            "published",
            smoothing_shares=9,
            keep_last=True,
            early_stop=False,
            edge_scope="warmup",
            graded_mask=True,
            raw_logit=True,
            warmup_constant=1e-4,
            neighbours="diagonal",
            grid_probabilities=True,
        ),
    }
)
