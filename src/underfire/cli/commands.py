"""The commands, and their errors."""

from __future__ import annotations

import inspect
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from underfire.cli import (
    attack,
    audit,
    check,
    demo,
    detect,
    explain,
    names,
    report,
    reproduce,
    run,
    status,
    train,
    train_defense,
    train_rts,
    transfer,
)
from underfire.cli.options import USAGE_ERROR, flag
from underfire.cli.screen import say, screen, show_each_once
from underfire.errors import StoppedError, UnderfireError, plain_words
from underfire.version import __version__

app = typer.Typer(
    name="underfire",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Can one small change to an image fool the classifier and leave its explanation looking right?",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"underfire {__version__}")
        raise typer.Exit


@app.callback()
def _always(
    version: Annotated[bool, flag("--version", "Print the version.", callback=_show_version, is_eager=True)] = False,
) -> None:
    pass


def _add(to: typer.Typer, name: str, command: Callable[..., None], epilog: str) -> None:
    """Add a command; its docstring is the help text.

    Commands state their names, as options do (see ``underfire.cli.options``): names that typer derives by itself may
    depend on its version.
    """
    to.command(name, help=_paragraphs(command.__doc__ or ""), epilog=_paragraphs(epilog))(command)


def _paragraphs(text: str) -> str:
    """Join the lines of each paragraph, so that the text fits any width of the terminal.

    Brackets are no markup, except ``[bold]`` and ``[/bold]``.
    """
    text = re.sub(r"\[(?!/?bold\])", r"\\[", text)
    return "\n\n".join(" ".join(each.split()) for each in inspect.cleandoc(text).split("\n\n"))


_add(app, "demo", demo.demo, demo.EXAMPLES)
_add(app, "attack", attack.attack, attack.EXAMPLES)
_add(app, "run", run.run, run.RUN_EXAMPLES)
_add(app, "status", status.status, status.STATUS_EXAMPLES)
_add(app, "explain", explain.explain, explain.EXAMPLES)
_add(app, "check", check.check, check.EXAMPLES)
_add(app, "audit", audit.audit, audit.EXAMPLES)
_add(app, "report", report.report, report.REPORT_EXAMPLES)
_add(app, "export", report.export, report.EXPORT_EXAMPLES)
_add(app, "transfer", transfer.transfer, transfer.EXAMPLES)
_add(app, "reproduce", reproduce.reproduce, reproduce.EXAMPLES)
_add(app, "list", names.list_names, names.EXAMPLES)

train_app = typer.Typer(
    no_args_is_help=True,
    help="Train classifiers, the networks (maskers) that the interpreter RTS needs, and defenses of both.",
)
_add(train_app, "classifier", train.classifier, train.EXAMPLES)
_add(train_app, "rts", train_rts.rts, train_rts.EXAMPLES)
_add(train_app, "aid", train_defense.aid, train_defense.AID_EXAMPLES)
_add(train_app, "robust", train_defense.robust, train_defense.ROBUST_EXAMPLES)
app.add_typer(train_app, name="train")

detect_app = typer.Typer(
    no_args_is_help=True, help="Fit detectors of attacked images, score images, and test detectors on finished runs."
)
_add(detect_app, "fit", detect.fit, detect.FIT_EXAMPLES)
_add(detect_app, "score", detect.score, detect.SCORE_EXAMPLES)
_add(detect_app, "evaluate", detect.evaluate, detect.EVALUATE_EXAMPLES)
app.add_typer(detect_app, name="detect")


SHOWN_OF_ERROR = 300
"""Characters of an unexpected error's text that are shown."""

STOPPED = 130
"""The exit code after Ctrl-C. Some versions of typer return it, others raise an exception."""

GOES_ON_BY_ITSELF = ("audit",)
"""Commands that go on with what they find in the output folder, without being asked."""


def main() -> None:
    """Run the command line. Wrong usage and underfire's own errors print one paragraph, with exit code 2.

    Any other error prints one paragraph, too, with exit code 1.
    """
    warnings.showwarning = show_each_once()
    try:
        code = app(prog_name="underfire", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        code = STOPPED
    except StoppedError as error:
        say("stopped", str(error).removeprefix("stopped: "), "yellow")
        sys.exit(STOPPED)
    except UnderfireError as error:
        say("error", str(error), "red")
        sys.exit(2)
    except USAGE_ERROR as error:
        message = plain_words(error.format_message().strip())
        if message:  # an empty message means that the help has been shown
            ended = message if message.endswith(("?", "!")) else f"{message.rstrip('.')}."
            if message.startswith("Got unexpected extra argument"):
                ended += " Several values of one option have commas between them: --interpreter cam,grad."
            say("error", f"{ended} See {_command(error)} --help.", "red")
        sys.exit(2)
    except Exception as error:  # a fault of ours, or of a package: its traceback is for us, not for the user
        say("error", _unexpected(error), "red")
        sys.exit(1)
    if code == STOPPED:
        screen.print(_stopped(sys.argv[1:]))
    sys.exit(code)


def _stopped(arguments: Sequence[str]) -> str:
    """Say what is left of a command after Ctrl-C: only some commands can go on."""
    command: Any = typer.main.get_command(app)
    for word in arguments:
        command = getattr(command, "commands", {}).get(word, command)
    if any("--resume" in option.opts for option in command.params):
        return "Stopped. Finished parts are kept, and --resume goes on from them."
    if command.name in GOES_ON_BY_ITSELF:
        return "Stopped. What is finished is kept, and the same command goes on from there."
    return "Stopped. This command cannot go on from here: the next start begins anew."


def _command(error: Any) -> str:
    return str(error.ctx.command_path) if error.ctx else "underfire"


def _unexpected(error: Exception) -> str:
    """Describe an error that nobody expected, and write its traceback to a file."""
    import torch

    said = " ".join(str(error).split())[:SHOWN_OF_ERROR] or "no message"
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return f"out of memory: {said}. Fewer images at once need less of it: --batch-size, or --batch in training."
    try:
        with tempfile.NamedTemporaryFile("w", prefix="underfire-", suffix=".txt", delete=False) as file:
            lines = "".join(traceback.format_exception(error))
            file.write(f"underfire {__version__}: {' '.join(sys.argv[1:])}\n\n{lines}")
    except OSError:  # such as a full disk
        return f"unexpected {type(error).__name__}: {said}."
    return (
        f"unexpected {type(error).__name__}: {said}. It should have been said in plain words: please report it with "
        f"{file.name}, which holds the details."
    )
