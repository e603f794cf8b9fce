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
    and two more: ``fail_below``, and ``accept_uncertain`` (False), which lets an audit pass that the gate calls
    something to investigate. It returns the audit.
    """

    def check(
        system: Any,
        images: Any,
        labels: Any = None,
        *,
        fail_below: float,
        accept_uncertain: bool = False,
        **others: Any,
    ) -> Audit:
        from underfire.audits import audit
        from underfire.audits.gate import decide_all

        found = audit(system, images, labels, **others)
        whole, *single = decide_all(found, fail_below)
        if whole.state == "fail" or (whole.state == "investigate" and not accept_uncertain):
            reasons = [each.text for each in single if each.state == whole.state]
            pytest.fail(f"{whole.state}: {'; '.join(reasons)}", pytrace=False)
        return found

    return check
