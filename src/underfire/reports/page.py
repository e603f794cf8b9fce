"""The page of a run: one HTML file that needs nothing beside it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from underfire.errors import InputError, StoreError
from underfire.reports import curves, words
from underfire.reports.gallery import OUTCOMES, TOWARD, cards
from underfire.runs.reader import CONTROLS, Run
from underfire.text import plain

TEMPLATES = Path(__file__).parent / "templates"

# (column's head, what it says, key in summary.json, digits)
COLUMNS = (
    ("joint success", "class changed and the wanted map shown", "joint_success", 3),
    ("class changed", "to what the attack wanted", "success", 3),
    ("map L1", "mean absolute difference to the benign map", "map_l1", 3),
    ("map IoU", "overlap with the benign map above 0.5", "map_iou", 3),
    ("map SSIM", "structural similarity to the benign map", "map_ssim", 3),
    ("map rank", "Spearman correlation with the benign map", "map_spearman", 3),
    ("image SSIM", "structural similarity to the clean image", "ssim", 3),
    ("image L2", "Euclidean size of the change, pixels in [0, 1]", "l2", 2),
    ("confidence", "in the target, over successes", "confidence_of_successes", 3),
)
# Only where another map than the benign one was wanted, or the data know the object's true mask: after so many others.
PLACE = 4
TO_TARGET = ("map to target", "mean absolute difference to the map that was wanted", "map_l1_target", 3)
POINTING = (
    ("mass on object", "share of the map's mass inside the object's true mask", "map_mass_inside", 3),
    ("peak on object", "share of images whose map peaks inside the object's true mask", "map_peak_inside", 3),
)


def write_page(runs: Sequence[Path], out: Path, title: str | None = None, gallery: int = 60) -> Path:
    """Write the page of one or more runs.

    Args:
        runs: folders that ``underfire attack`` wrote.
        out: the HTML file. Its folder is made where it does not exist.
        title: what the page is called; made from the runs where None.
        gallery: images in the gallery at most, over all runs: chosen evenly over the map distances.

    Raises:
        InputError: no runs, or a negative gallery.
        StoreError: a folder holds no finished run, or ``out`` cannot be written.
    """
    if not runs:
        raise InputError("runs is empty; expected at least one folder that 'underfire attack' wrote.")
    if gallery < 0:
        raise InputError(f"gallery is {gallery}; expected 0 images or more.")
    text = render([Run.read(Path(folder)) for folder in runs], title, gallery)
    part = out.with_name(f"{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        os.replace(part, out)
    except OSError as error:
        raise StoreError(f"page {out} cannot be written: {error.strerror or error}.") from error
    return out


def render(runs: Sequence[Run], title: str | None = None, gallery: int = 60) -> str:
    """The page as text; arguments as for ``write_page``."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,  # every name on the page is somebody else's text
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Each run gets its share of the gallery, and the first runs what cannot be shared evenly.
    shares = [gallery // len(runs) + (number < gallery % len(runs)) for number in range(len(runs))]
    parts = [_part(run, number, shares[number]) for number, run in enumerate(runs)]
    charts = [chart.figure() for part in parts for chart in part["charts"]]
    script, style = ((TEMPLATES / name).read_text(encoding="utf-8") for name in ("page.js", "page.css"))
    library = _plotly() if charts else ""
    allowed = " ".join(_hash(code) for code in (script, library) if code)
    return environment.get_template("page.html.j2").render(
        title=plain(title) if title is not None else _title(runs),
        parts=parts,
        interpreters=list(dict.fromkeys(plain(name) for run in runs for name in run.interpreters)),
        outcomes=OUTCOMES if any(run.keeps for run in runs) else TOWARD,
        charts=charts,
        script=script,
        style=style,
        library=_packed(library) if library else "",
        # Nothing may be loaded, and only these scripts may run, whatever a name on the page says.
        policy=f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src {allowed}",
    )


def _title(runs: Sequence[Run]) -> str:
    attacks = list(dict.fromkeys(run.attack for run in runs))
    classifiers = list(dict.fromkeys(run.classifier for run in runs))
    more = f" and {len(classifiers) - 3} more" if len(classifiers) > 3 else ""
    return f"{', '.join(map(plain, attacks))} on {', '.join(classifiers[:3])}{more}"


def _part(run: Run, number: int, share: int) -> dict[str, Any]:
    thresholds = [curves.threshold_chart(run, name) for name in run.interpreters]
    return {
        "number": number,
        "name": run.name,
        "folder": plain(run.folder.name),
        # A share and its interval stay on one line.
        "paragraph": re.sub(r" (%|\[\d+,|\d+\])", "\u00a0\\1", words.paragraph(run)),
        "headlines": _headlines(run),
        "first": plain(run.interpreters[0]),
        "notes": words.trust(run),
        "columns": _columns(run),
        "tables": [_table(run, name) for name in run.interpreters],
        "charts": [*thresholds, *curves.step_charts(run)],
        "cards": cards(run, number, share),
        "images": run.summary["images"]["attacked"],
        "has_control": run.control is not None,
        "attack": plain(run.attack),
        "record": _record(run.record),
    }


def _headlines(run: Run) -> list[dict[str, Any]]:
    return [
        {
            "interpreter": asked,
            "joint": _share(run.joint_success(run.attack, name)),
            "control": _share(run.joint_success(run.control, name)) if run.control else None,
        }
        for asked, name in run.headlines
    ]


def _share(interval: Mapping[str, Any]) -> dict[str, Any]:
    """A share as text, and its interval as places on a line from 0 to 100."""
    mean, low, high = (100 * (interval[key] or 0.0) for key in ("mean", "low", "high"))
    text = words.with_interval(interval)
    share, _, bounds = text.partition(" [")
    return {
        "share": share.removesuffix(" %"),
        "bounds": bounds.removesuffix("]").replace(", ", "–"),
        "mean": f"{mean:.1f}",
        "low": f"{low:.1f}",
        "span": f"{high - low:.1f}",
        "n": interval["n"],
    }


def _columns(run: Run) -> tuple[tuple[str, str, str, int], ...]:
    attacks = [group["attacks"][run.attack] for group in run.summary["interpreters"].values()]
    known = [column for column in POINTING if any((a.get(column[2]) or {}).get("mean") is not None for a in attacks)]
    wanted = () if run.keeps else (TO_TARGET,)
    return (*COLUMNS[: PLACE - 2], *wanted, *COLUMNS[PLACE - 2 : PLACE], *known, *COLUMNS[PLACE:])


def _table(run: Run, name: str) -> dict[str, Any]:
    """Rows in the order of the story: controls first, then the attack, then what separates it from its control."""
    group = run.summary["interpreters"][name]
    first = [*CONTROLS, *([run.control] if run.control else [])]
    order = [*(c for c in first if c in group["attacks"]), *(a for a in group["attacks"] if a not in first)]
    what = {"clean": "untouched", "reseeded": "untouched, other seed", "noise": "random noise"}
    if run.control:
        what[run.control] = "prediction only"
    rows = [
        {
            "name": plain(attack),
            "what": what.get(attack, ""),
            "kind": "asked" if attack == run.attack else "",
            "cells": [_cell(group["attacks"][attack].get(key), digits) for _, _, key, digits in _columns(run)],
            "n": group["attacks"][attack]["success"]["n"],
        }
        for attack in order
    ]
    against = group.get("against_prediction_only")
    if against:
        paired = against["paired_difference"]
        rows.append(
            {
                "name": "difference",
                "what": f"{plain(run.attack)} - {run.control}, paired",
                "kind": "paired",
                "cells": [_cell(paired.get(key), digits, signed=True) for _, _, key, digits in _columns(run)],
                "n": paired["success"]["n"],
            }
        )
    return {"interpreter": plain(name), "rows": rows}


def _cell(interval: Mapping[str, Any] | None, digits: int, signed: bool = False) -> dict[str, str] | None:
    if interval is None or interval["mean"] is None:
        return None
    sign = "+" if signed else ""
    mean, low, high = (f"{round(interval[key], digits) + 0.0:{sign}.{digits}f}" for key in ("mean", "low", "high"))
    return {
        "mean": mean.replace("-", "−"),
        "interval": (f"{low} to {high}" if signed else f"{low}–{high}").replace("-", "−"),
    }


def _record(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What ``run.json`` holds, one line per value, with nested names joined by dots."""
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
    """Compressed, for the browser to unpack: a third of the size, and nothing in it can end the script element."""
    return base64.b64encode(gzip.compress(code.encode(), 9, mtime=0)).decode("ascii")


def _hash(code: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode('ascii')}'"
