"""The command line: one module per command."""

from underfire.cli.commands import app, main

__all__ = ["app", "main"]
