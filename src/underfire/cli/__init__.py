"""The command line: one module per command."""

from __future__ import annotations

import os

__all__ = ["main"]

ASKED = "_UNDERFIRE_COMPLETE"
"""The environment variable with which a shell asks how a line can go on. Its name is click's rule."""


def main() -> None:
    """Run the command line, or answer a shell that asks how a line can go on.

    The answer must come at once, so it is given without importing the commands, which import torch. That takes seconds,
    in which a terminal shows that something happens.
    """
    if os.environ.get(ASKED):
        from underfire.cli.completion import answer

        answer()
    from underfire.allocation import keep_freed_memory
    from underfire.cli.screen import screen

    keep_freed_memory()
    with screen.status("starting"):
        from underfire.cli import commands

    commands.main()
