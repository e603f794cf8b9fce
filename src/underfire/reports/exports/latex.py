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


def write_latex(run: Run, out: Path) -> None:
    """Write a LaTeX ``tabular`` of means with 95 % intervals, with a row for each interpreter and attack or control.

    Arrows show the direction that is better for the attack. Cautions about joint success follow below the rows. If
    detectors have scored the run, a second ``tabular`` says what they notice.
    """
    accounts = accounts_of(run)
    columns = summary_columns(accounts)
    heads = [escaped(measure.heading) + _ARROWS[measure.better] for measure in columns]
    # If one interpreter reads several attacks of one name, only the maps that these attacked tell their rows apart.
    rows = [(name, account.part.names["attack"]) for account in accounts for name in account.part.interpreters]
    firsts = ["interpreter", "attack", *(["attacked"] if len(set(rows)) < len(rows) else [])]
    lines = [
        f"% {plain(legend(columns))}.",
        f"\\begin{{tabular}}{{{'l' * len(firsts)}{'r' * len(columns)}}}",
        "\\hline",
    ]
    lines += [_line([*firsts, *heads]), "\\hline"]
    for account in accounts:
        attacked = [escaped("+".join(account.part.attacked))] if len(firsts) > 2 else []
        for interpreter in account.part.interpreters:
            for role, name in account.part.names.items():
                group: Mapping[str, Any] = account.group(role, interpreter)
                found = [as_text(group.get(measure.name), measure.digits) for measure in columns]
                cells = ["--" if each is None else "{} [{}, {}]".format(*each) for each in found]
                lines.append(_line([escaped(interpreter), escaped(name), *attacked, *cells]))
            for name, group in chance_rows(account, interpreter):
                found = [as_text(group.get(measure.name), measure.digits) for measure in columns]
                cells = ["--" if each is None else "{} [{}, {}]".format(*each) for each in found]
                lines.append(_line([escaped(interpreter), escaped(name), *attacked, *cells]))
        lines.append("\\hline")
    for account in accounts:
        for asked, named in account.headlines:
            said = caution(account, named)
            if said:
                text = escaped(f"{account.part.attack}, {asked}: {said}.")
                lines.append(_line([f"\\multicolumn{{{len(firsts) + len(columns)}}}{{l}}{{{text}}}"]))
    lines += ["\\end{tabular}", ""]
    held = Detected.of(run.path)
    if held is not None:
        lines += _detection(held.rows)
    out.write_text("\n".join(lines), encoding="utf-8")


def _detection(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Make the lines of the table of detectors, with a row for each detector and attack, control or clean image.

    Numbers of an attack that does not know the detector carry a question mark, which is explained below the rows.
    """
    heads = ("AUC", "detected", "joint success", "triple success")
    lines = ["", "% Detected: for clean images and noise, the share of false alarms. Intervals are 95 % intervals."]
    lines += ["\\begin{tabular}{llrrrr}", "\\hline", _line(["detector", "attack", *heads]), "\\hline"]
    doubted = False
    for row in rows:
        mark = "?" if row["kind"] in ("attack", "control") and row["caution"] else ""
        cells = []
        for name in ("auc", "detection", "joint_success", "triple_success"):
            found = as_text(row[name], 3) if row[name]["low"] is not None else None
            own = "" if name == "joint_success" else mark  # joint success is no number about the detector
            doubted |= bool(own) and found is not None
            cells.append("--" if found is None else "{}{} [{}, {}]".format(found[0], own, *found[1:]))
        lines.append(_line([escaped(row["detector"]), escaped(row["cell"]), *cells]))
    lines.append("\\hline")
    if doubted:
        lines.append(_line([f"\\multicolumn{{6}}{{l}}{{?: {escaped(NOT_ADAPTIVE)}.}}"]))
    return [*lines, "\\end{tabular}", ""]


def escaped(text: str) -> str:
    """Escape a text for LaTeX, so that every character is shown as it is."""
    return "".join(_SPECIAL.get(character, character) for character in plain(text))


def _line(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"
