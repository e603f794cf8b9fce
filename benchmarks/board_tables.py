"""The tables of the board, made of the audits in ``docs/results/board/``."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from underfire.attacks.perturbations import eps_text
from underfire.audits.standing import member_of

ROWS = Path(__file__).parent.parent / "docs" / "results" / "board"
PAGE = ROWS.parent.parent / "board.md"
BEGIN, END = "<!-- tables of benchmarks.board -->", "<!-- end of the tables -->"
_SEED = re.compile(r"-seed-(\d+)$")


def in_lines(text: str) -> str:
    """Put each innermost table of a JSON text into one line."""
    return re.sub(r"\{[^{}]*\}", lambda found: re.sub(r"\s*\n\s*", " ", found[0]), text)


def read(folder: Path) -> dict[str, Any]:
    """Read all records of a folder, by name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def share(interval: dict[str, Any]) -> str:
    """Write a share with its interval."""
    return f"{interval['mean']:.3f} [{interval['low']:.3f}, {interval['high']:.3f}]"


def main_table(found: dict[str, Any]) -> str:
    """The board: one row for each network, interpreter and radius."""
    lines = [
        "| network | data | ensemble | interpreter | eps | n | clean | robust | **joint robust** | limit | set by | "
        "gradients |",
        "|" + "---|" * 12,
    ]
    for audit in found.values():
        for each in audit["results"]:
            cells = (
                audit["classifier"],
                audit.get("data", "own"),
                audit["ensemble"],
                each["interpreter"],
                eps_text(each["eps"]),
                audit["images"],
                f"{each['clean_accuracy']['mean']:.3f}",
                share(each["robust_accuracy"]),
                f"**{share(each['joint_robust_accuracy'])}**",
                *(("each its own", "") if each["limit"] is None else (f"{each['limit']:.3f}", each["limit_set_by"])),
                f"{each['gradients_per_image']:.0f}",
            )
            lines.append("| " + " | ".join(map(str, cells)) + " |")
    return "\n".join(lines)


def who_table(found: dict[str, Any]) -> str:
    """The images that each attack was the first to fool, over all radii of an interpreter."""
    names = list(dict.fromkeys(attack["name"] for audit in found.values() for attack in audit["attacks"]))
    lines = [f"| network | interpreter | {' | '.join(names)} | found elsewhere |", "|---" * (len(names) + 3) + "|"]
    for audit in found.values():
        for name in dict.fromkeys(each["interpreter"] for each in audit["results"]):
            by = [
                member_of(image["kept_by"])
                for each in audit["results"]
                for image in each["images"]
                if each["interpreter"] == name and image["fooled"] and image["kept_by"] != "smaller eps"
            ]
            counts = [str(by.count(attack)) for attack in names]
            elsewhere = sum(each not in names for each in by)
            lines.append(f"| {audit['classifier']} | {name} | {' | '.join(counts)} | {elsewhere} |")
    return "\n".join(lines)


def seeds_table(found: dict[str, Any]) -> str:
    """Audits with another seed beside those with seed 0."""
    lines = ["| network | interpreter | eps | seed 0 | seed | with that seed |", "|---|---|---|---|---|---|"]
    for name, audit in found.items():
        seed = _SEED.search(name)
        first = found.get(_SEED.sub("", name))
        if seed is None or first is None:
            continue
        for each, other in zip(first["results"], audit["results"], strict=True):
            lines.append(
                f"| {audit['classifier']} | {each['interpreter']} | {eps_text(each['eps'])} | "
                f"{share(each['joint_robust_accuracy'])} | {seed[1]} | {share(other['joint_robust_accuracy'])} |"
            )
    return "\n".join(lines) if len(lines) > 2 else ""


def tenfold_table(found: dict[str, Any]) -> str:
    """The images that an audit calls robust and that fall to ten times its budget."""
    lines = ["| audit | interpreter | eps | right images | called robust | fell to ten times the budget | by |"]
    lines.append("|---" * 7 + "|")
    for name, rows in found.items():
        for row in rows:
            by = ", ".join(f"{each} ({row['by'].count(each)})" for each in dict.fromkeys(row["by"]))
            lines.append(
                f"| {name} | {row['interpreter']} | {eps_text(row['eps'])} | {row['images']} | {row['robust']} | "
                f"{row['fallen']} | {by} |"
            )
    return "\n".join(lines) if len(lines) > 2 else ""


def doubts_table(found: dict[str, Any]) -> str:
    """The doubts of each audit, in words."""
    lines = []
    for audit in found.values():
        for doubt in audit["doubts"]:
            radius = eps_text(doubt["eps"]) if doubt["eps"] else ""
            about = " ".join(each for each in (doubt["interpreter"], radius) if each)
            lines.append(f"- {audit['classifier']}{f', {about}' if about else ''}: {doubt['text']}.")
    return "\n".join(lines) or "No reason to doubt them was found."


def tables() -> str:
    """All tables, with their titles."""
    every = read(ROWS)
    first = {
        name: audit
        for name, audit in every.items()
        if not _SEED.search(name) or _SEED.sub("", name) not in every  # another seed of nothing is a row of its own
    }
    parts = [
        main_table(first),
        "### Who fooled them\n\nThe number of images that each attack was the first to fool, over all radii: at the "
        "radius at which it ran, or at a larger one, at which its map counts as kept.",
        who_table(first),
        "### What speaks against the numbers",
        doubts_table(first),
    ]
    for title, table in (
        ("### With another seed", seeds_table(every)),
        ("### With ten times the budget", tenfold_table(read(ROWS / "tenfold"))),
    ):
        if table:
            parts += [title, table]
    return "\n\n".join(parts)


def write_page() -> None:
    """Put the tables into the page, between their marks."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables()}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")
