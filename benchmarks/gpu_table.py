"""The table of ``python -m benchmarks.gpu``, and the file that it is resumed from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Values = dict[str, Any]
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Line:
    """A line of the table: what is measured, and its bound.

    Args:
        key: the row's name for ``--rows``.
        what: what the value is, such as ``ADV2 on CAM: a step / bare``.
        bound: the largest value that meets the issue; the smallest one if ``at_least``; no bound if None.
        at_least: True if the value shall be at least ``bound``.
        unit: the unit of the value, if it is no ratio.
    """

    key: str
    what: str
    bound: float | None = None
    at_least: bool = False
    unit: str = ""

    def met(self, values: Mapping[str, Any]) -> bool | None:
        """Return True if the value meets the bound; None without a value or a bound."""
        value = values.get("ratio", values.get("value"))
        if self.bound is None or value is None:
            return None
        return bool(value >= self.bound if self.at_least else value <= self.bound)

    def markdown(self, values: Mapping[str, Any] | None) -> str:
        """The line of the table, for values that were measured, for an error, or for nothing."""
        sign = ">=" if self.at_least else "<="
        bound = "" if self.bound is None else f"{sign} {self.bound:g}{self.unit and ' ' + self.unit}"
        if not values:
            cells = [NOT_MEASURED, bound, "", ""]
        elif "error" in values:
            cells = ["failed", bound, "", str(values["error"])]
        else:
            met = self.met(values)
            words = "" if met is None else "yes" if met else "NO"
            cells = [self._value(values), f"{bound}: {words}" if words else bound, _times(values), _note(values)]
        return f"| {self.key} | {self.what} | {' | '.join(cells)} |"

    def _value(self, values: Mapping[str, Any]) -> str:
        if "ratio" not in values:
            return f"{values['value']:.4g}{self.unit and ' ' + self.unit}"
        spread = f" [{values['low']:.3f}, {values['high']:.3f}]" if "low" in values else ""
        return f"{values['ratio']:.3f}{spread}"


def _times(values: Mapping[str, Any]) -> str:
    if "first_seconds" not in values:
        return ""
    return f"{values['first_seconds'] * 1000:.2f} / {values['second_seconds'] * 1000:.2f}"


def _note(values: Mapping[str, Any]) -> str:
    return str(values.get("note", ""))


def table(lines: Iterable[Line], measured: Mapping[str, Values]) -> str:
    """The whole table in Markdown."""
    head = ["| row | measured | value [range] | bound | milliseconds | note |", "|---|---|---|---|---|---|"]
    return "\n".join([*head, *(line.markdown(measured.get(line.key)) for line in lines)])


class Results:
    """The values measured so far, in a JSON file.

    Values of another device, another version of torch, or other effort are put aside when the file is opened: a table
    is of one machine.

    Args:
        file: the file; nothing is kept if None.
        about: what all values depend on, as JSON values.
    """

    def __init__(self, file: Path | None, about: Mapping[str, Any]) -> None:
        self.file, self.about = file, dict(about)
        self.rows: dict[str, Values] = {}
        if file is not None and file.exists():
            held = json.loads(file.read_text())
            if held.get("about") == self.about:
                self.rows = {key: values for key, values in held["rows"].items() if "error" not in values}
            else:
                file.rename(file.with_suffix(".former.json"))

    def keep(self, key: str, values: Values) -> None:
        """Add the values of a row, and write the file."""
        self.rows[key] = values
        if self.file is not None:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(json.dumps({"about": self.about, "rows": self.rows}, indent=1) + "\n")
