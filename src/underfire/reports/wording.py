"""Words for the two aims that an attack can have for a map: keep the benign map, or reach another one."""

from __future__ import annotations

from dataclasses import dataclass

from underfire.runs.comparison import Verdict


@dataclass(frozen=True)
class Wording:
    """The words for one aim.

    Args:
        done: ``kept`` or ``reached``, in short texts.
        map: the map in short texts.
        verb, whose: the first words of "kept their cam map" and of "showed the wanted cam map".
        success: the meaning of joint success for someone who looks at the explanation.
        most: the same, after "For most images, ".
        otherwise: the outcome if the class was reached without joint success.
        limit: the origin of the limit on the map distance, for captions; it may have the field ``why``.
        mark: the limit in one word, for curves.
        rule: a sentence that says when a map counts; it has the fields ``limit`` and ``why``.
        doubt: a sentence for a prediction-only attack that often has joint success, too; it has the fields ``name`` and
            ``share``.
    """

    done: str
    map: str
    verb: str
    whose: str
    success: str
    most: str
    otherwise: str
    limit: str
    mark: str
    rule: str
    doubt: str

    @property
    def verdicts(self) -> dict[Verdict, str]:
        """The outcome of an image in words, by verdict."""
        return {
            "joint": f"class reached, {self.map} {self.done}",
            "class": f"class reached, {self.map} not {self.done}",
            "failed": "class not reached",
        }


KEPT = Wording(
    done="kept",
    map="map",
    verb="kept",
    whose="their",
    success="the explanation does not show the attack",
    most="someone who checks the explanation would notice nothing",
    otherwise="the map showed the attack",
    limit="the distance below which a map counts as kept: {why}",
    mark="kept",
    rule="A map counts as kept below {limit:.3f}: {why}.",
    doubt="Even the attack on the prediction alone leaves the {name} map below the limit on {share}: a kept map says "
    "little here.",
)
REACHED = Wording(
    done="reached",
    map="wanted map",
    verb="showed",
    whose="the wanted",
    success="the explanation is the one that the attack chose",
    most="the explanation is the one that the attack chose",
    otherwise="the map stayed far from the wanted one",
    limit="half of the benign maps' mean distance to the wanted maps; for joint success, each image has its own limit",
    mark="halfway",
    rule="A map counts as reached if it is less than half as far from the wanted map as the benign map is: "
    "{limit:.3f} on average.",
    doubt="Even the attack on the prediction alone brings the {name} map half of the way to the wanted one on {share}: "
    "a reached map says little here.",
)


def wording(keeps: bool) -> Wording:
    """Return the words for attacks that keep the benign map if ``keeps``, otherwise for attacks toward another map."""
    return KEPT if keeps else REACHED
