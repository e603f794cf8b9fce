"""Controls of the gate: it must fail a network that is known to be fragile, and pass one that no attack fools.

A gate that never fails is worthless, and nobody notices. So the gate is tried on a small network that ships with
underfire: with a large radius, where they fool nearly every image, and with one level of 255, where they fool none.
"""

from __future__ import annotations

from underfire.audits.auditing import audit
from underfire.audits.decision import Decision
from underfire.audits.ensemble import ENSEMBLES
from underfire.audits.gate import decide
from underfire.classifiers import load
from underfire.data import open_data
from underfire.system import System

IMAGES = 24
FRAGILE, ROBUST = 0.3, 1 / 255
"""The radius at which the attacks fool the network on nearly all images, and that at which on none."""
LIMIT = 0.5


def check_gate(seed: int = 0) -> tuple[Decision, ...]:
    """Try the gate on both controls.

    Returns:
        Nothing if the gate did as it must; else one decision to investigate for each control that came out wrong.
    """
    classifier, data = load("digits-resnet"), open_data("digits:test")
    size = classifier.image_size
    batch = data.load(size, classifier.channels, range(IMAGES))
    # These two attacks are enough to fool these images, and more would take longer.
    members = [member for member in ENSEMBLES["audit-1"] if member.name in ("apgd-ce", "auto")]
    found = audit(
        System(classifier, "cam"), batch.images, batch.labels, eps=(ROBUST, FRAGILE), ensemble=members, seed=seed
    )
    wanted = {ROBUST: "pass", FRAGILE: "fail"}
    wrong = []
    for result in decide(found, LIMIT):
        assert result.eps is not None
        expected = next(state for eps, state in wanted.items() if abs(eps - result.eps) < 1e-9)
        if result.state != expected:
            what = "these attacks do not fool" if expected == "pass" else "is known to be fragile"
            wrong.append(
                Decision(
                    "investigate",
                    f"the gate's own control does not work: it says {result.state} of a network that {what} "
                    f"({result.text})",
                    "control",
                )
            )
    return tuple(wrong)
