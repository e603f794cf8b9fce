"""Stopping on purpose: the first Ctrl-C or SIGTERM finishes the part in hand, the second stops at once."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from underfire.cli.screen import say
from underfire.errors import StoppedError

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


@contextmanager
def saying_how_to_go_on(resumes: bool) -> Iterator[None]:
    """Context that adds the command that goes on to the message of a ``StoppedError``.

    Args:
        resumes: True if the present command goes on with a stopped one already.
    """
    try:
        yield
    except StoppedError as error:
        again = [each for each in sys.argv[1:] if each != "--overwrite"] + ([] if resumes else ["--resume"])
        raise StoppedError(f"{error} Go on with: {shlex.join(['underfire', *again])}") from error
