"""``underfire audit``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from underfire.cli import options
from underfire.cli.lines import status
from underfire.cli.options import Given, flag, option, takes
from underfire.cli.screen import bars, say, screen
from underfire.memory import bytes_of
from underfire.runs.inputs import PREDICTED, InputSettings

if TYPE_CHECKING:
    from torch import Tensor

    from underfire.audits import Audit, Decision
    from underfire.runs.inputs import Inputs

EXAMPLES = """[bold]Examples[/bold]

underfire audit --data photos/ --classifier my_model.py:build --interpreter cam,grad --eps 2/255,4/255,8/255
--out audits/mine

underfire audit --data photos/ --classifier my_model.py:build --fail-below 0.2 --baseline audits/last/audit.json
--out audits/new"""

WORST = 6
"""The number of worst images that the page shows for each result."""


@takes(InputSettings)
def audit(
    given: Given,
    out: Annotated[Path, option("FOLDER", "Folder for the results. What is there already is not made again.", "--out")],
    interpreter: Annotated[
        list[str] | None,
        option(
            "NAMES",
            "Interpreters to audit, one by one; with commas, or by repeating the option. [default: cam,grad]",
            "--interpreter",
            show_default=False,
        ),
    ] = None,
    eps: Annotated[
        str, option("EPS", "L-inf radius, such as 8/255; several with commas, for a curve.", "--eps")
    ] = "8/255",
    count: Annotated[int, option("N", "The number of images, spread over the data.", "--count", min=1)] = 64,
    ensemble: Annotated[str, option("NAME", "The ensemble of attacks.", "--ensemble")] = "audit-1",
    fail_below: Annotated[
        float | None,
        option(
            "SHARE",
            "Fail (exit code 1) if joint robust accuracy is surely below this share, and say 'investigate' (exit code "
            "3) if it is not surely at or above it.",
            "--fail-below",
            show_default=False,
        ),
    ] = None,
    baseline: Annotated[
        Path | None,
        option(
            "FILE",
            "The audit.json of an earlier audit: fail if joint robust accuracy is surely lower than it was.",
            "--baseline",
            show_default=False,
        ),
    ] = None,
    again: Annotated[
        str | None,
        option(
            "NAME",
            "The same network trained again: are its explanations the same? [default: none; with --again-weights, that "
            "of --classifier]",
            "--again",
            show_default=False,
        ),
    ] = None,
    again_weights: Annotated[
        str | None,
        option("FILE", "The weights of the network trained again.", "--again-weights", show_default=False),
    ] = None,
    without_controls: Annotated[
        bool,
        flag(
            "--no-controls",
            "Do not try the gate on a network that is known to be fragile, and on one that the attacks do not fool.",
        ),
    ] = False,
    seed: Annotated[int, option("N", "Seed of all random numbers.", "--seed")] = 0,
    variant: options.Variant = "paper",
    memory: Annotated[
        str | None, option("SIZE", "The most memory that the audit shall have. [default: what is free]", "--memory")
    ] = None,
    device: options.Device = "auto",
    as_json: Annotated[bool, flag("--json", "Print everything as JSON.")] = False,
) -> None:
    """Measure joint robust accuracy: on how many images does no attack change the class and keep the map?

    A fixed ensemble of attacks is tried on each image. Nothing needs tuning, and audits with one ensemble can be
    compared. With --fail-below or --baseline, the audit is a gate for CI: exit code 0 if it passes, 1 if it fails, 3 if
    there is something to investigate, 2 for wrong usage.

    An audit that was stopped goes on if it is started again with the same --out.
    """
    from underfire.audits import audit as run_audit
    from underfire.audits.baseline import open_baseline
    from underfire.audits.controls import check_gate
    from underfire.audits.doubts import of_predictions
    from underfire.audits.gate import check_limit, decide_all
    from underfire.audits.writing import pictures_of, write_audit
    from underfire.data.sampling import evenly_spaced
    from underfire.runs.devices import find_device
    from underfire.runs.settings import parse_interpreters
    from underfire.system import System

    if fail_below is not None:
        check_limit(fail_below)
    earlier = None if baseline is None else open_baseline(baseline)
    settings = InputSettings.create(**given)
    found_device = find_device(device)
    with status(screen, "reading images"):
        inputs = settings.open(found_device)
        classifier = inputs.classifier
        names = [name for each in interpreter or ["cam,grad"] for name in parse_interpreters(each)]
        system = System(classifier, names, variant)
        chosen = evenly_spaced(len(inputs.data), count)
        batch = inputs.data.load(classifier.image_size, classifier.channels, chosen, classifier.resizing)
        lost = {path for path, _ in batch.unreadable}
        masks = _masks(inputs, [place for place in chosen if inputs.data.record(place).path not in lost])
        second = None
        if again is not None or again_weights is not None:
            other = {"classifier": again or given["classifier"], "weights": again_weights, "weights_key": None}
            second = InputSettings.create(**{**given, **other}).open(found_device)
    for path, why in batch.unreadable:
        say("left out", f"{path}: {why}", "yellow")
    with bars() as progress:
        task = progress.add_task("audit", total=1.0)
        result = run_audit(
            system,
            batch.images,
            batch.labels,
            eps=eps.split(","),
            ensemble=ensemble,
            ids=batch.ids,
            seed=seed,
            memory=bytes_of(memory),
            masks=masks,
            again=None if second is None else second.classifier,
            folder=out / "state",
            progress=lambda words, share: progress.update(task, completed=share, description=words),
        )
        if settings.labels == PREDICTED:
            result = replace(result, doubts=(*result.doubts, of_predictions()))
        write_audit(result, (), out)
        gated = fail_below is not None or earlier is not None
        notes = check_gate(seed) if gated and not without_controls else ()
    decisions = decide_all(result, fail_below, earlier, notes) if gated else ()
    if decisions:
        write_audit(result, decisions, out)
    from underfire.reports.audit_page import write_audit_page

    page = write_audit_page(result, out / "audit.html", decisions, pictures_of(result, system, out, WORST))
    if as_json:
        typer.echo(json.dumps(record_of(result, decisions), indent=2, allow_nan=False))
    else:
        _show(result, decisions, page)
    if decisions and decisions[0].exit_code:
        raise typer.Exit(decisions[0].exit_code)


def _masks(inputs: Inputs, chosen: Sequence[int]) -> Tensor | None:
    """Read the true masks of images, if the data has any and the classifier says how large its images are."""
    size = inputs.classifier.image_size
    return None if size is None else inputs.data.masks(size, chosen, inputs.classifier.resizing)


def record_of(result: Audit, decisions: Sequence[Decision]) -> dict[str, Any]:
    """Convert an audit and its decisions to values for JSON."""
    from underfire.audits.writing import record

    return record(result, decisions)


def _show(result: Audit, decisions: Sequence[Decision], page: Path) -> None:
    """Print the table, the doubts and the decision for a terminal of 80 columns."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from underfire.attacks.perturbations import eps_text
    from underfire.text import counted

    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    for column in ("interpreter", "eps"):
        table.add_column(column)
    for column in ("clean", "robust", "joint robust", "95 %", "gradients"):
        table.add_column(column, justify="right")
    for each in result.results:
        joint, numbers = each.joint, each.to_dict()
        table.add_row(
            Text(each.interpreter),
            eps_text(each.eps),
            *(f"{numbers[name]['mean']:.3f}" for name in ("clean_accuracy", "robust_accuracy")),
            Text(f"{joint.mean:.3f}", style="bold"),
            Text(f"{joint.low:.3f}-{joint.high:.3f}"),
            f"{numbers['gradients_per_image']:.0f}",
        )
    console = Console()
    console.print(
        Text(f"{result.classifier}: {counted(result.count, 'image')}, ensemble {result.ensemble}", style="bold")
    )
    console.print(table)
    console.print(
        Text(
            "joint robust: right, and no attack changed the class and kept the map. An upper bound: a better attack "
            "may fool more.",
            style="dim",
        )
    )
    for doubt in result.doubts:
        about = " ".join(
            [*([doubt.interpreter] if doubt.interpreter else []), *([eps_text(doubt.eps)] if doubt.eps else [])]
        )
        console.print(Text.assemble(("look  ", "yellow"), f"{about}: " if about else "", doubt.text + "."))
    for decision in decisions:
        style = {"pass": "green", "fail": "bold red", "investigate": "yellow"}[decision.state]
        where = f"{decision.interpreter} {eps_text(decision.eps or 0.0)}: " if decision.interpreter else ""
        console.print(Text.assemble((f"{decision.state}  ", style), where, decision.text + "."))
    console.print(Text(f"Page: {page}", style="dim"))
