"""Runs as tables for an 80-column terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from underfire.attacks.measure import Measure
from underfire.reports.account import Account, accounts_of, labels_of
from underfire.reports.columns import CHANCE, as_text, chance_rows, legend, own_measures, summary_columns
from underfire.reports.words import caution, left_out, p_value, points, with_interval
from underfire.runs.run import Run
from underfire.text import counted, plain

_WIDTH = 80
_NUMBERS = len("0.000-0.000")


def summary_table(*runs: Run) -> Group:
    """Show one or more runs: joint success first, then a table of controls and attack for each interpreter."""
    accounts = [account for run in runs for account in accounts_of(run)]
    columns = summary_columns(accounts)
    parts: list[Text | Table] = []
    for account in accounts:
        parts += [_headline(account, interpreter) for _, interpreter in account.headlines]
    names = [plain(name) for account in accounts for name in account.part.names.values()] + list(CHANCE.values())
    width = min(_WIDTH - len(columns) * (_NUMBERS + 1), max(map(len, names)))
    for account, label in zip(accounts, labels_of(accounts), strict=True):
        for name in account.part.interpreters:
            # Names stand above the table, because many are wider than a column can be.
            shown = plain(name) if len(accounts) == 1 else label
            if len(accounts) > 1 and len(account.part.interpreters) > 1:
                shown += f": maps of {plain(name)}"
            parts += [Text(f"\n{shown}", style="bold"), _table(account, name, columns, width)]
            more = own_measures(account)
            for start in range(0, len(more), len(columns)):
                parts += [Text(), _table(account, name, more[start : start + len(columns)], width, chance=False)]
    parts.append(Text())
    own = {measure.name: measure for account in accounts for measure in own_measures(account)}
    beside = any(account.part.cell.joint and account.part.has("control") for account in accounts)
    on_control = " The attack on the prediction alone stands beside the joint one." if beside else ""
    on_chance = " Maps that have nothing to do with the image stand below: the share of them that would pass as wanted."
    parts.append(Text(f"{legend([*columns, *own.values()])}.{on_control}{on_chance}{_on_p_values(runs)}", style="dim"))
    return Group(*parts, *(Text(remark, style="dim") for remark in dict.fromkeys(_remark(run) for run in runs)))


def _on_p_values(runs: Sequence[Run]) -> str:
    """Explain the p-values of the headlines, if there are any."""
    most = max(len(run.p_values) for run in runs)
    corrected = f", with Holm's correction for the {most} comparisons of a run" if most > 1 else ""
    return f" p: sign-flip test of the differences by image{corrected}." if most else ""


def _headline(account: Account, interpreter: str | None) -> Text:
    """Write joint success in one sentence, with a caution at its end if there is a reason."""
    part, words = account.part, account.wording
    joint = account.joint("attack", interpreter)
    line = Text("Joint success: ").append(with_interval(joint), style="bold")
    line.append(f" of {counted(joint['n'], 'image')} got another class from {plain(part.attack)} and {words.verb} ")
    if interpreter is None:
        whose = "the" if part.keeps else words.whose
        line.append(f"{whose} maps of ").append(" and ".join(map(plain, part.attacked)), style="bold")
        line.append(" at once")
    else:
        line.append(f"{words.whose} ").append(plain(interpreter), style="bold").append(" map")
        if interpreter in part.readers:
            line.append(", which was not attacked")
    if part.control is not None:
        lead = account.lead(interpreter)
        line.append(f" ({plain(part.control)}: {with_interval(account.joint('control', interpreter))}")
        tested = p_value(account.p_value(interpreter)) if interpreter is not None else ""
        line.append(f"; difference {points(lead)}{tested and ', '}{tested})" if lead is not None else ")")
    warning = caution(account, interpreter)
    return line.append(": ").append(warning, style="bold yellow").append(".") if warning else line.append(".")


def _table(account: Account, interpreter: str, columns: Sequence[Measure], width: int, chance: bool = True) -> Table:
    table = Table(box=None, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="bold")
    table.add_column("attack", overflow="fold", min_width=width)
    for measure in columns:
        heading = Text(textwrap.fill(measure.heading, _NUMBERS))  # brackets in it are no markup
        table.add_column(heading, justify="right", no_wrap=True, min_width=_NUMBERS)
    for role, name in account.part.names.items():
        group: Mapping[str, Any] = account.group(role, interpreter)
        cells = [_cell(group.get(measure.name), measure) for measure in columns]
        table.add_row(Text(plain(name)), *cells, style="bold" if role == "attack" else "")
    for name, group in chance_rows(account, interpreter) if chance else []:
        table.add_row(Text(name), *(_cell(group.get(measure.name), measure) for measure in columns), style="dim")
    return table


def _cell(interval: Any, measure: Measure) -> str:
    found = as_text(interval, measure.digits)
    return "-" if found is None else f"{found[0]}\n{found[1]}-{found[2]}"


def _remark(run: Run) -> str:
    images = run.images
    skipped = left_out(run, "those")
    return (
        f"Means over {counted(images['attacked'], 'attacked image')} with 95 % intervals; {images['considered']} "
        f"{'was' if images['considered'] == 1 else 'were'} looked "
        + (
            f"at. What the attacked classifier called them counts as right: {images['correctly_classified']} of them."
            if run.predicted_labels
            else f"at, {images['correctly_classified']} of them classified correctly."
        )
        + (f" {skipped}." if skipped else "")
        + (f" {len(images['unreadable'])} could not be read." if images["unreadable"] else "")
        + (f" {len(images['unusable'])} got no finite logits." if images.get("unusable") else "")
    )
