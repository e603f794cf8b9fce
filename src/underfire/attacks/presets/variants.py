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
