"""The format ``latex``: joint success and the other headline measures as a table for a paper."""

from __future__ import annotations

from pathlib import Path

from underfire.reports.account import accounts_of
from underfire.reports.columns import as_text, summary_columns
from underfire.runs.run import Run

_SPECIAL = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
_SPECIAL |= {character: f"\\{character}" for character in "&%$#_{}"}


def write_latex(run: Run, out: Path) -> None:
    """Write a ``tabular`` with a row for each interpreter and attack or control: means with 95 % intervals."""
    accounts = accounts_of(run)
    columns = summary_columns(accounts)
    heads = ["interpreter", "attack", *(measure.heading for measure in columns)]
    lines = [f"\\begin{{tabular}}{{ll{'r' * len(columns)}}}", "\\hline", _line(heads), "\\hline"]
    for account in accounts:
        for interpreter in account.part.interpreters:
            for role, name in account.part.names.items():
                group = account.group(role, interpreter)
                found = [as_text(group.get(measure.name), measure.digits) for measure in columns]
                cells = ["--" if each is None else "{} [{}, {}]".format(*each) for each in found]
                lines.append(_line([interpreter, name, *cells]))
        lines.append("\\hline")
    out.write_text("\n".join([*lines, "\\end{tabular}", ""]), encoding="utf-8")


def _line(cells: list[str]) -> str:
    return " & ".join("".join(_SPECIAL.get(c, c) for c in cell) for cell in cells) + r" \\"
