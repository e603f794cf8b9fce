"""A fixture for pytest: ``underfire_audit`` makes an audit a test of a project."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from underfire.audits import Audit


@pytest.fixture
def underfire_audit() -> Callable[..., Audit]:
    """A function that audits a system, and fails the test if joint robust accuracy is too low or too uncertain.

    ``underfire_audit(system, images, labels, fail_below=0.2, eps=4 / 255)`` takes the arguments of ``underfire.audit``,
    and three more: ``fail_below``; ``accept_uncertain`` (False), which lets an audit pass whose interval holds the
    limit, but never one whose attacks may have missed something; and ``controls`` (True), which tries the gate on a
    fragile and on a robust network, too. It returns the audit.
    """

    def check(
        system: Any,
        images: Any,
        labels: Any = None,
        *,
        fail_below: float,
        accept_uncertain: bool = False,
        controls: bool = True,
        **others: Any,
    ) -> Audit:
        from underfire.audits import audit
        from underfire.audits.controls import check_gate
        from underfire.audits.gate import check_limit, decide_all

        check_limit(fail_below)
        notes = check_gate(others.get("seed", 0)) if controls else ()
        found = audit(system, images, labels, **others)
        _, *single = decide_all(found, fail_below, controls=notes)
        wrong = [
            each
            for each in single
            if each.state != "pass" and not (accept_uncertain and each.state == "investigate" and each.cause == "limit")
        ]
        if wrong:
            pytest.fail("; ".join(f"{each.state}: {each.text}" for each in wrong), pytrace=False)
        return found

    return check
