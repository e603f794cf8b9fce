"""The page of an audit: one figure, one table, what speaks against it, and the worst images and classes first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from underfire.attacks.perturbations import eps_text
from underfire.audits import Audit, Decision, Robustness
from underfire.audits.documents import title_of
from underfire.reports.blocks import Head, Remarks
from underfire.reports.chart import Chart, Line
from underfire.reports.document import Block, Section, write_document
from underfire.reports.reproduction.page import Drawing
from underfire.reports.sortable import Cell, Column, SortableTable, TableRow, number_cell
from underfire.reports.trust import Remark
from underfire.text import counted, plain

_NUMBERS = (
    "Shares of all images, with 95 % intervals. Robust accuracy: right, and no attack found another class. Joint "
    "robust accuracy: right, and no attack found another class with a kept map. Both are upper bounds: a better attack "
    "may find more."
)


def write_audit_page(
    audit: Audit,
    out: Path,
    decisions: Sequence[Decision] = (),
    pictures: Mapping[str, Sequence[tuple[str, str]]] | None = None,
) -> Path:
    """Write the page of an audit.

    Args:
        audit: the audit.
        out: the HTML file. Its folder is made if it does not exist.
        decisions: of the gate: first that of the audit.
        pictures: for each result (``title_of``), pictures of its worst images: the address of each, and what it shows.

    Returns:
        ``out``.

    Raises:
        StoreError: ``out`` cannot be written.
    """
    title = f"Audit of {plain(audit.classifier)}"
    verdict = f"{decisions[0].state}: {decisions[0].text}. " if decisions else ""
    text = (
        f"{verdict}{counted(audit.count, 'image')} met the attacks of the ensemble {audit.ensemble} until one of them "
        "changed the class and kept the map."
    )
    shown: list[Block] = [_chart(audit)] if len({each.eps for each in audit.results}) > 1 else []
    remarks = [
        Remark("careful", _sentence(_about(audit, doubt.interpreter, doubt.eps) + doubt.text)) for doubt in audit.doubts
    ]
    quality = [
        (plain(name), "", [Remark(_kind_of(line), _sentence(line)) for line in lines])
        for name, lines in audit.quality.items()
    ]
    worst = [
        Section(
            f"worst-{place}",
            f"The worst first: {plain(title_of(result))}",
            _worst(audit, result, (pictures or {}).get(title_of(result), ())),
            _WORST,
            "Worst" if place == 0 else "",
        )
        for place, result in enumerate(audit.results)
    ]
    sections = [
        Section("findings", "", [Head(title, text), *shown]),
        Section("numbers", "Numbers", [_table(audit)], _NUMBERS, "Numbers"),
        Section("doubts", "What speaks against it", [Remarks([("", "", remarks)])] if remarks else [], "", "Doubts"),
        *worst,
        Section("explanations", "The explanations of clean images", [Remarks(quality)], _QUALITY, "Explanations"),
    ]
    return write_document(out, title, sections)


_QUALITY = (
    "An explanation that says nothing of the classifier is easy to keep. These are the four checks on which saliency "
    "maps failed in radiology (Arun et al. 2021)."
)


_WORST = (
    "Each row shows a clean image, its map, the changed image and its map; with several interpreters, all their maps. "
    "The map that moved least comes first."
)


def _chart(audit: Audit) -> Chart:
    """Draw robust and joint robust accuracy over eps, from the clean accuracy at 0."""
    lines = []
    for place, name in enumerate(dict.fromkeys(each.interpreter for each in audit.results)):
        own = sorted((each for each in audit.results if each.interpreter == name), key=lambda each: each.eps)
        x = (0.0, *(each.eps * 255 for each in own))
        if place == 0:
            robust = [own[0].accuracy, *(each.robust for each in own)]
            lines.append(Line("robust accuracy", "control", x, tuple(each.mean for each in robust), place=-1))
        joint = [own[0].accuracy, *(each.joint for each in own)]
        lines.append(
            Line(
                f"joint, {plain(name)}",
                "attack",
                x,
                tuple(each.mean for each in joint),
                tuple(each.low for each in joint),
                tuple(each.high for each in joint),
                place=place,
            )
        )
    return Chart(
        "Robust accuracy by radius",
        "Joint robust accuracy, with its 95 % interval, counts images on which no attack changed the class and kept "
        "the map. Robust accuracy counts images whose class no attack changed.",
        "eps (levels of 1/255)",
        "share of images",
        tuple(lines),
        y_range=(0.0, 1.0),
        percent=True,
    )


def _table(audit: Audit) -> SortableTable:
    columns = (
        Column("clean", "images that are classified correctly"),
        Column("robust", "right, and no attack found another class"),
        Column("joint robust", "right, and no attack found another class with a kept map"),
        Column("limit", "the map distance below which a map counts as kept"),
        Column("gradients", "gradients of an objective per right image, at this eps"),
    )
    rows = []
    for each in audit.results:
        numbers = each.to_dict()
        cells = [number_cell(numbers[f"{name}_accuracy"], 3) for name in ("clean", "robust", "joint_robust")]
        limit, cost = numbers["limit"], numbers["gradients_per_image"]
        shown = "each its own" if limit is None else f"{limit:.3f}"
        cells += [Cell(shown, "", limit or 0.0), Cell(f"{cost:.0f}", "", cost)]
        rows.append(TableRow((plain(each.interpreter), eps_text(each.eps)), tuple(cells), audit.count, kind="attack"))
    return SortableTable("Robustness", ("interpreter", "eps"), columns, tuple(rows))


def _worst(audit: Audit, result: Robustness, pictures: Sequence[tuple[str, str]]) -> list[Block]:
    columns = (Column("fooled", "the share of right images of this class that were fooled"),)
    rows = [
        TableRow((plain(name),), (Cell(f"{fooled / right:.2f}", f"{fooled} of {right}", fooled / right),), right)
        for name, fooled, right in audit.worst_classes(result)
        if fooled
    ]
    drawings: list[Block] = [
        Drawing(address, f"{about}. Clean image with its map, changed image with its map", f"{about}.")
        for address, about in pictures
    ]
    table = SortableTable("Classes", ("class",), columns, tuple(rows))
    return [*drawings, *([table] if rows else [])]


def _about(audit: Audit, interpreter: str | None, eps: float | None) -> str:
    several = len(audit.results) > 1
    parts = [plain(interpreter)] if interpreter and several else []
    parts += [f"eps {eps_text(eps)}"] if eps and several else []
    return f"{', '.join(parts)}: " if parts else ""


def _kind_of(line: str) -> Literal["good", "unknown"]:
    """The kind of a remark on the maps of clean images: ``localisation: unknown, because ...`` is no praise."""
    return "unknown" if line.partition(": ")[2].startswith("unknown") else "good"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."
