"""The format ``latex``: joint success and the other headline measures as a table for a paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from underfire.detectors.evaluation import NOT_ADAPTIVE
from underfire.reports.account import accounts_of
from underfire.reports.columns import as_text, chance_rows, legend, summary_columns
from underfire.reports.detected import Detected
from underfire.reports.words import caution
from underfire.runs.run import Run
from underfire.text import plain

_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_SPECIAL |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
_SPECIAL |= {character: f"\\{character}" for character in "&%$#_{}"}
_ARROWS = {"higher": r" $\uparrow$", "lower": r" $\downarrow$", "neither": ""}


def write_latex(runs: Sequence[tuple[Run, Mapping[str, Any]]], out: Path) -> None:
    """Write a LaTeX ``tabular`` of means with 95 % intervals, with a row for each interpreter and attack or control.

    Arrows show the direction that is better for the attack. Cautions about joint success follow below the rows. If
    detectors have scored a run, a second ``tabular`` says what they notice. The runs of a campaign share the tables,
    whose first column names the run.
    """
    named = [(told.get("run"), account) for run, told in runs for account in accounts_of(run)]
    columns = summary_columns([account for _, account in named])
    heads = [escaped(measure.heading) + _ARROWS[measure.better] for measure in columns]
    # If one interpreter reads several attacks of one name, only the maps that these attacked tell their rows apart.
    rows = [(run, name, account.part.names["attack"]) for run, account in named for name in account.part.interpreters]
    of_runs = any(run is not None for run, _ in named)
    attacked = len(set(rows)) < len(rows)
    firsts = [*(["run"] if of_runs else []), "interpreter", "attack", *(["attacked"] if attacked else [])]
    lines = [
        f"% {plain(legend(columns))}.",
        f"\\begin{{tabular}}{{{'l' * len(firsts)}{'r' * len(columns)}}}",
        "\\hline",
    ]
    lines += [_line([*firsts, *heads]), "\\hline"]
    for run, account in named:
        before = [] if run is None else [escaped(run)]
        behind = [escaped("+".join(account.part.attacked))] if attacked else []
        for interpreter in account.part.interpreters:
            groups = [(name, account.group(role, interpreter)) for role, name in account.part.names.items()]
            for name, group in (*groups, *chance_rows(account, interpreter)):
                found = [as_text(group.get(measure.name), measure.digits) for measure in columns]
                cells = ["--" if each is None else "{} [{}, {}]".format(*each) for each in found]
                lines.append(_line([*before, escaped(interpreter), escaped(name), *behind, *cells]))
        lines.append("\\hline")
    for run, account in named:
        for asked, about in account.headlines:
            said = caution(account, about)
            if said:
                whose = "" if run is None else f"{run}: "
                text = escaped(f"{whose}{account.part.attack}, {asked}: {said}.")
                lines.append(_line([f"\\multicolumn{{{len(firsts) + len(columns)}}}{{l}}{{{text}}}"]))
    lines += ["\\end{tabular}", ""]
    scored = [(told.get("run"), held.rows) for run, told in runs if (held := Detected.of(run.path)) is not None]
    if scored:
        lines += _detection(scored)
    out.write_text("\n".join(lines), encoding="utf-8")


def _detection(scored: Sequence[tuple[str | None, Sequence[Mapping[str, Any]]]]) -> list[str]:
    """Make the lines of the table of detectors, with a row for each detector and attack, control or clean image.

    Numbers of an attack that does not know the detector carry a question mark, which is explained below the rows.

    Args:
        scored: for each run, its name (None for a run alone) and its rows.
    """
    firsts = [*(["run"] if scored[0][0] is not None else []), "detector", "attack"]
    heads = [*firsts, "AUC", "detected", "joint success", "triple success"]
    lines = ["", "% Detected: for clean images and noise, the share of false alarms. Intervals are 95 % intervals."]
    lines += [f"\\begin{{tabular}}{{{'l' * len(firsts)}rrrr}}", "\\hline", _line(heads), "\\hline"]
    doubted = False
    for run, row in ((run, row) for run, rows in scored for row in rows):
        before = [] if run is None else [escaped(run)]
        mark = "?" if row["kind"] in ("attack", "control") and row["caution"] else ""
        cells = []
        for name in ("auc", "detection", "joint_success", "triple_success"):
            found = as_text(row[name], 3) if row[name]["low"] is not None else None
            own = "" if name == "joint_success" else mark  # joint success is no number about the detector
            doubted |= bool(own) and found is not None
            cells.append("--" if found is None else "{}{} [{}, {}]".format(found[0], own, *found[1:]))
        lines.append(_line([*before, escaped(row["detector"]), escaped(row["cell"]), *cells]))
    lines.append("\\hline")
    if doubted:
        lines.append(_line([f"\\multicolumn{{{len(heads)}}}{{l}}{{?: {escaped(NOT_ADAPTIVE)}.}}"]))
    return [*lines, "\\end{tabular}", ""]


def escaped(text: str) -> str:
    """Escape a text for LaTeX, so that every character is shown as it is."""
    return "".join(_SPECIAL.get(character, character) for character in plain(text))


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
