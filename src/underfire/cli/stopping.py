"""Stopping on purpose: the first Ctrl-C or SIGTERM finishes the part in hand, the second stops at once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from underfire.cli.screen import say

if TYPE_CHECKING:
    from underfire.campaigns.engines import Stop


@contextmanager
def stopping() -> Iterator[Stop]:
    """Context in which signals ask the yielded ``Stop``. The former handlers are put back at the end."""
    from underfire.campaigns.engines import Stop

    stop = Stop()

    def hear(number: int, frame: FrameType | None) -> None:
        if stop.asked:
            raise KeyboardInterrupt
        stop.ask()
        say("stopping", "the part in hand is finished first; once more stops at once.", "yellow")

    former = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
