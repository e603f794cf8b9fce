"""The command line: one module per command, put together in ``commands``."""

from underfire.cli.commands import app, main

__all__ = ["app", "main"]
