"""The page of one or more runs: one HTML file that needs no other file and no network."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from underfire.attacks.measure import Measure
from underfire.errors import InputError
from underfire.reports import curves, trust, words
from underfire.reports.account import Account, Interval, Source, labels_of, open_accounts
from underfire.reports.classes import class_columns, class_rows, worth_a_section
from underfire.reports.columns import ARROWS, as_text, chance_rows, page_columns
from underfire.reports.gallery import cards
from underfire.reports.output import writing
from underfire.text import plain

TEMPLATES = Path(__file__).parent / "templates"

CONTROLS = {
    "clean": "unchanged",
    "reseeded": "unchanged, other seed",
    "noise": "random noise",
    "control": "prediction only",
}
"""The change of the images, by the role of a control."""


def write_page(runs: Sequence[Source], out: Path, title: str | None = None, gallery: int = 60) -> Path:
    """Write the page of one or more runs.

    Args:
        runs: runs, or folders that ``underfire attack`` wrote.
        out: the HTML file. Its folder is made if it does not exist.
        title: the page's title; if None, the attacks, classifiers and interpreters.
        gallery: the largest number of images in the gallery, for all runs together, at least 0. They are spread evenly
            over the map distances.

    Returns:
        ``out``.

    Raises:
        InputError: ``runs`` is empty, or ``gallery`` is negative.
        StoreError: a folder holds no finished run, or ``out`` cannot be written.
    """
    if gallery < 0:
        raise InputError(f"gallery is {gallery}; expected 0 images or more.")
    text = _render(open_accounts(runs), title, gallery)
    with writing(out, "page") as part:
        part.write_text(text, encoding="utf-8")
    return out


def _render(accounts: Sequence[Account], title: str | None, gallery: int) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # names on the page come from outside, and may hold HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    count = len(accounts)
    # Divide the gallery among the comparisons; the first ones get one image more if it cannot be divided evenly.
    shares = [gallery // count + (number < gallery % count) for number in range(count)]
    parts = [
        _part(account, number, label, share)
        for number, (account, label, share) in enumerate(zip(accounts, labels_of(accounts), shares, strict=True))
    ]
    environment.filters["unbroken"] = _unbroken
    charts = [chart.figure() for part in parts for chart in part["charts"]]
    script, style = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.js", "page.css"))
    library = _plotly() if charts else ""
    allowed = " ".join(_hash(code) for code in (script, library) if code)
    first = next((account for account in accounts if account.part.keeps), accounts[0])
    return environment.get_template("page.html.j2").render(
        title=plain(title) if title is not None else _title(accounts),
        parts=parts,
        trust=_trust(accounts, [part["label"] for part in parts]),
        records=_records(accounts),
        interpreters=list(dict.fromkeys(plain(name) for account in accounts for name in account.part.interpreters)),
        verdicts=first.wording.verdicts,
        charts=charts,
        script=script,
        style=style,
        library=_packed(library) if library else "",
        # The browser loads nothing and runs only these scripts, even if a name on the page holds HTML.
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}",
    )


def _unbroken(text: str) -> str:
    """Keep a share and its interval on one line, with spaces that do not break."""
    return re.sub(r" (%|\[\d+,|\d+\])", "\u00a0\\1", text)


def _title(accounts: Sequence[Account]) -> str:
    if len(accounts) == 1:
        return accounts[0].part.title
    attacks = list(dict.fromkeys(account.part.attack for account in accounts))
    classifiers = list(dict.fromkeys(account.part.classifier for account in accounts))
    more = f" and {len(classifiers) - 3} more" if len(classifiers) > 3 else ""
    return f"{', '.join(map(plain, attacks))} on {', '.join(classifiers[:3])}{more}"


def _part(account: Account, number: int, label: str, share: int) -> dict[str, Any]:
    names, columns = account.part.interpreters, page_columns(account)
    thresholds = [curves.threshold_chart(account, name) for name in names]
    return {
        "number": number,
        "label": label,
        "paragraph": words.paragraph(account),
        "headlines": [_headline(account, *headline) for headline in account.headlines],
        "first": plain(names[0]),
        "columns": _headings(columns),
        "tables": [_table(account, name, columns) for name in names],
        "class_columns": _headings(class_columns(account)),
        "class_tables": [_class_table(account, name) for name in names] if worth_a_section(account) else [],
        "charts": [*thresholds, *curves.step_charts(account)],
        "cards": cards(account, number, share),
        "images": account.attacked,
    }


def _headings(columns: Sequence[Measure]) -> list[dict[str, Any]]:
    return [{**vars(measure), "arrow": ARROWS[measure.better]} for measure in columns]


def _trust(accounts: Sequence[Account], labels: Sequence[str]) -> list[tuple[str, list[trust.Remark]]]:
    """List headings with remarks. If a run has several attacks, the remarks on the whole run come first."""
    if len(accounts) == 1:
        return [("", trust.trust(accounts))]
    found = []
    for account, label in zip(accounts, labels, strict=True):
        several = len(account.run.comparisons) > 1
        if several and account.part is account.run.comparisons[0]:
            found.append((f"All attacks of {plain(account.run.path.name)}", trust.on_run(account)))
        found.append((label, trust.on_comparison(account) if several else trust.trust([account])))
    return found


def _records(accounts: Sequence[Account]) -> list[tuple[str, list[tuple[str, str]]]]:
    """List the name of each run's folder with the lines of its record."""
    runs = {id(account.run): account.run for account in accounts}
    return [(plain(run.path.name), _record(run.record)) for run in runs.values()]


def _headline(account: Account, asked: str, interpreter: str | None) -> dict[str, Any]:
    lead = account.lead(interpreter)
    return {
        "asked": asked if len(account.headlines) > 1 else "",
        "joint": _share(account.joint("attack", interpreter)),
        "control": _share(account.joint("control", interpreter)) if account.part.has("control") else None,
        "lead": words.points(lead) if lead is not None else None,
        "caution": words.caution(account, interpreter),
    }


def _share(interval: Interval) -> dict[str, Any]:
    """Format a share with its interval: as text, and in percent for the bar."""
    mean, low, high = (100 * (interval[key] or 0.0) for key in ("mean", "low", "high"))
    share, _, bounds = words.with_interval(interval).partition(" [")
    return {
        "share": share.removesuffix(" %"),
        "bounds": bounds.removesuffix("]").replace(", ", "–"),
        "mean": f"{mean:.1f}",
        "low": f"{low:.1f}",
        "span": f"{high - low:.1f}",
    }


def _table(account: Account, interpreter: str, columns: Sequence[Measure]) -> dict[str, Any]:
    """Make the table of one interpreter: its controls, the attack, and the attack minus its control."""
    part = account.part
    rows = []
    for role, name in part.names.items():
        group = account.group(role, interpreter)
        kind = "asked" if role == "attack" else ""
        rows.append(_row(plain(name), CONTROLS.get(role, ""), kind, group, columns))
    rows += [_row(name, "chance", "", group, columns) for name, group in chance_rows(account, interpreter)]
    difference = account.difference(interpreter)
    if difference is not None:
        what = f"{plain(part.attack)} - {plain(part.control)}, paired"
        rows.append(_row("difference", what, "paired", difference, columns))
    return {"caption": _caption(account, interpreter), "rows": rows}


def _caption(account: Account, interpreter: str) -> str:
    return f"Maps of {plain(interpreter)}" + (", not attacked" if interpreter in account.part.readers else "")


def _class_table(account: Account, interpreter: str) -> dict[str, Any]:
    """Make the table of one interpreter with a row for each true class."""
    rows = [
        {"name": row["name"], "what": "", "kind": "", "n": row["n"], "cells": [_shown(cell) for cell in row["cells"]]}
        for row in class_rows(account, interpreter)
    ]
    return {"caption": _caption(account, interpreter), "rows": rows}


def _row(name: str, what: str, kind: str, group: Mapping[str, Any], columns: Sequence[Measure]) -> dict[str, Any]:
    cells = [_cell(group.get(measure.name), measure.digits, kind == "paired") for measure in columns]
    return {"name": name, "what": what, "kind": kind, "cells": cells, "n": group["joint_success"]["n"]}


def _cell(interval: Interval | None, digits: int, signed: bool) -> dict[str, str] | None:
    return _shown(as_text(interval, digits, signed), signed)


def _shown(found: tuple[str, str, str] | None, signed: bool = False) -> dict[str, str] | None:
    if found is None:
        return None
    mean, low, high = (text.replace("-", "−") for text in found)
    return {"mean": mean, "interval": f"{low} to {high}" if signed else f"{low}–{high}"}


def _record(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List the content of ``run.json``: a name, with dots for nested ones, and a value."""
    lines: list[tuple[str, str]] = []
    for key, value in record.items():
        if isinstance(value, dict):
            lines += [(f"{plain(key)}.{inner}", text) for inner, text in _record(value)]
        elif key == "torch_build":
            lines.append((key, plain("; ".join(str(line).strip() for line in value))))
        else:
            lines.append((plain(key), plain(value if isinstance(value, str) else json.dumps(value))))
    return lines


@lru_cache(maxsize=1)
def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    code: str = get_plotlyjs()
    return code


@lru_cache(maxsize=1)
def _packed(code: str) -> str:
    """Compress code for the browser to unpack.

    It takes a third of the size, and cannot contain ``</script>``, which would end the script element.
    """
    return base64.b64encode(gzip.compress(code.encode(), 9, mtime=0)).decode("ascii")


def _hash(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode('ascii')}'"
