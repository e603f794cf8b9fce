"""Where underfire's ``paper`` settings and the published experiments part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

EdgeScope = Literal["all", "warmup"]


@dataclass(frozen=True)
class Variant:
    """One way to settle what paper and experiments settle differently.

    Args:
        smoothing_shares: label smoothing divides what it takes among so many classes, whatever their number is; among
            all others where None.
        keep_last: where no confidence ranks iterates, the last one is kept instead of the best.
        early_stop: images that have come to rest leave where the weights stand still at last.
        edge_scope: edges shape the perturbation in ``all`` stages and in the saved image, or in the ``warmup`` alone.
        graded_mask: AdvEdge+ under C&W and StAdv weighs edges by their magnitude, instead of 1.
        raw_logit: AdvEdge's warm-up on CAM and RTS minimises minus the target's logit, instead of cross-entropy.
        warmup_constant: what the prediction term is multiplied with in C&W's warm-up; at 1e-4 the distortion outweighs
            it, and nothing moves.
        neighbours: of a pixel, for the roughness of StAdv's flow.
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


@dataclass(frozen=True)
class Difference:
    """One thing that the variants settle differently: in words, and how to set it ``alone``. ``field`` is the one of
    ``Variant``, None where it is an interpreter's."""

    topic: str
    paper: str
    published: str
    alone: str
    field: str | None


DIFFERENCES = (
    Difference(
        "the image that is kept",
        "the best successful one by map distance",
        "the last one, where no confidence ranks them (all but the family grad)",
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
        "those in [0, 1], as the honest map does",
        "normalised ones",
        "Python: Grad(view_pixels=...)",
        None,
    ),
    Difference(
        "early stop",
        "family grad: a success whose map has come to rest leaves",
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
        "1 where the edge e exceeds the threshold",
        "e where it does",
        "Python: Variant.graded_mask",
        "graded_mask",
    ),
    Difference(
        "warm-up of advedge, advedge+ on CAM and RTS",
        "cross-entropy",
        "minus the target's raw logit, without end",
        "Python: Variant.raw_logit",
        "raw_logit",
    ),
    Difference(
        "warm-up of cw",
        "the joint stage's coefficients",
        "the prediction term times 1e-4: nothing moves",
        "Python: Variant.warmup_constant",
        "warmup_constant",
    ),
    Difference(
        "neighbours in the roughness of stadv",
        "the four adjacent pixels",
        "the four diagonal ones",
        "Python: preset(..., neighbours=...)",
        "neighbours",
    ),
)
"""See ``docs/concepts.md``."""

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
        ),
    }
)
