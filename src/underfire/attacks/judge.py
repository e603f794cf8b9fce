"""The verdict: what the honest classifier and interpreters say about an image as it is saved.

Every measurement happens here, once, after the attack, in float32 and on the 8-bit image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from underfire.attacks.aim import Aim
from underfire.attacks.benign import Benign
from underfire.attacks.measure import Measure, Seen
from underfire.attacks.measures import Values, measure_all
from underfire.attacks.outcome import Outcome
from underfire.attacks.unsound import sound
from underfire.system import System


@dataclass(frozen=True)
class Judgement:
    """Images under one attack or control, and what was measured on them. Tensors have leading dimension N, on the CPU.

    Every measure is also an attribute: ``judgement.success`` (N values), ``judgement.map_l1["cam"]``.

    Args:
        images: 8-bit values in [0, 1], N x C x H x W.
        logits: the honest logits, N x K.
        explained: int64 N, the classes that the maps were read for.
        maps: the honest maps N x h x w in [0, 1], by interpreter.
        values: N values by measure, or by measure and interpreter; see ``MEASURES``.
    """

    images: Tensor
    logits: Tensor
    explained: Tensor
    maps: dict[str, Tensor]
    values: Values

    def __getattr__(self, name: str) -> Any:
        values = vars(self).get("values", {})
        if name in values:
            return values[name]
        raise AttributeError(f"there is no measure {name!r}; known: {', '.join(values)}")


def judge(
    system: System,
    benign: Benign,
    images: Tensor,
    aim: Aim,
    measures: Sequence[Measure],
    *,
    own: bool = False,
    outcome: Outcome | None = None,
    masks: Tensor | None = None,
) -> Judgement:
    """Read 8-bit ``images`` honestly, and measure them against the benign ones.

    An image with NaN or infinite logits counts as failed; see ``unsound.sound``.

    Args:
        aim: what success means.
        own: read the maps for the images' own classes, as for controls that attack nothing; otherwise for the class
            that the attack wants to see explained.
        outcome: costs of the attack.
        masks: the objects' true masks, bool N x H x W.
    """
    images, logits = sound(benign, images, system.classifier.logits(images))
    explained = benign.labels if own else aim.goal.explained(logits, aim.classes)
    maps = system.maps(images, explained, benign.ids)
    return measured(benign, images, logits, explained, maps, aim, measures, outcome, masks)


def measured(
    benign: Benign,
    images: Tensor,
    logits: Tensor,
    explained: Tensor,
    maps: dict[str, Tensor],
    aim: Aim | None,
    measures: Sequence[Measure],
    outcome: Outcome | None = None,
    masks: Tensor | None = None,
) -> Judgement:
    """Measure images whose honest ``logits`` N x K and ``maps`` N x h x w are known already; see ``judge``."""
    maps = {name: value.cpu() for name, value in maps.items()}
    seen = Seen(
        clean=benign.images.cpu(),
        images=images.cpu(),
        logits=logits.cpu(),
        labels=benign.labels.cpu(),
        aim=aim,
        maps=maps,
        benign_maps={name: benign.maps[name].cpu() for name in maps},
        outcome=outcome,
        masks=masks,
        ids=benign.ids.cpu(),
    )
    return Judgement(seen.images, seen.logits, explained.cpu(), maps, measure_all(seen, measures))


def judge_clean(benign: Benign, aim: Aim | None, measures: Sequence[Measure], masks: Tensor | None = None) -> Judgement:
    """Judge the clean control: the benign images as they were read, for their own classes."""
    return measured(
        benign, benign.images, benign.logits, benign.labels, benign.maps, aim, measures, outcome=None, masks=masks
    )
