"""Words that depend on the wanted map: an attack keeps the benign map, or reaches another one."""

from __future__ import annotations

from dataclasses import dataclass

from underfire.runs.comparison import Verdict


@dataclass(frozen=True)
class Wording:
    """The words for one kind of wanted map.

    Args:
        done: the participle in short texts: ``kept`` or ``reached``.
        verb, whose: parts of "kept their cam map".
        success: what joint success means for someone who looks at the explanation.
        most: the same, for a sentence that begins with "For most images, ".
        otherwise: what happened on images whose class was reached without joint success.
        limit: where the limit of joint success comes from, for captions.
        mark: the limit in one word, for curves.
        rule: a sentence on when a map counts, with the field ``limit``.
        doubt: a sentence on a prediction-only attack that often has joint success too, with ``name`` and ``share``.
        verdicts: what became of an image.
    """

    done: str
    verb: str
    whose: str
    success: str
    most: str
    otherwise: str
    limit: str
    mark: str
    rule: str
    doubt: str
    verdicts: dict[Verdict, str]


KEPT = Wording(
    done="kept",
    verb="kept",
    whose="their",
    success="the explanation does not show the attack",
    most="someone who checks the explanation would notice nothing",
    otherwise="the map showed the attack",
    limit="the distance that 95 % of the maps under random noise stay below",
    mark="noise",
    rule="A map counts as kept below {limit:.3f}: 95 % of the noisy images stay below it.",
    doubt="Noise moves the {name} map so far that even the attack on the prediction alone stays below the limit on "
    "{share}: a kept map says little here.",
    verdicts={
        "joint": "class reached, map kept",
        "class": "class reached, map not kept",
        "failed": "class not reached",
    },
)
REACHED = Wording(
    done="reached",
    verb="showed",
    whose="the wanted",
    success="the explanation is the one that the attack chose",
    most="the explanation is the one that the attack chose",
    otherwise="the map stayed far from the wanted one",
    limit="half of the benign maps' mean distance to the wanted ones; joint success takes half of each image's own",
    mark="halfway",
    rule="A map counts as reached if it is less than half as far from the wanted map as the benign map is: "
    "{limit:.3f} on average.",
    doubt="Even the attack on the prediction alone brings the {name} map half of the way to the wanted one on {share}: "
    "a reached map says little here.",
    verdicts={
        "joint": "class reached, wanted map reached",
        "class": "class reached, wanted map not reached",
        "failed": "class not reached",
    },
)


def wording(keeps: bool) -> Wording:
    """Return the words for attacks that keep the benign map, or for attacks toward another one."""
    return KEPT if keeps else REACHED
