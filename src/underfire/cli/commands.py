"""The commands, and what happens when one fails."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import typer

from underfire.cli import attack, check, demo, explain, names, train, train_rts
from underfire.cli.screen import say, screen, show_warning
from underfire.errors import UnderfireError, plain_words

app = typer.Typer(
    name="underfire",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Can one small change to an image fool the classifier and leave its explanation looking right?",
)
app.command(epilog=demo.EXAMPLES)(demo.demo)
app.command(epilog=attack.EXAMPLES)(attack.attack)
app.command(epilog=explain.EXAMPLES)(explain.explain)
app.command(epilog=check.EXAMPLES)(check.check)
app.command("list", epilog=names.EXAMPLES)(names.list_names)

train_app = typer.Typer(no_args_is_help=True, help="Train classifiers, and maskers for any classifier.")
train_app.command(epilog=train.EXAMPLES)(train.classifier)
train_app.command(epilog=train_rts.EXAMPLES)(train_rts.rts)
app.add_typer(train_app, name="train")


def main() -> None:
    """Entry point: errors that underfire raises on purpose, and wrong usage, are one paragraph and exit code 2."""
    warnings.showwarning = show_warning
    try:
        code = app(prog_name="underfire", standalone_mode=False)
    except UnderfireError as error:
        say("error", str(error), "red")
        sys.exit(2)
    except _USAGE_ERROR as error:
        message = plain_words(error.format_message().strip())
        if message:  # without one, help was asked for by giving no arguments, and has been shown
            ended = message if message.endswith(("?", "!")) else f"{message.rstrip('.')}."
            say("error", f"{ended} See {_command(error)} --help.", "red")
        sys.exit(2)
    if code == 130:  # typer's word for Ctrl-C
        screen.print("Stopped. What is finished was kept, and --resume goes on from it.")
    sys.exit(code)


_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]  # typer brings click along under a name of its own, or none


def _command(error: Any) -> str:
    return str(error.ctx.command_path) if error.ctx else "underfire"
