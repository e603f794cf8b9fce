"""Draw the rooms of the package and the imports between them: docs/pictures/rooms.svg.

    python -m tools.rooms

The picture is made from the imports in the source, and a test holds that the committed one is up to date. An arrow is
left out if a longer way of arrows leads to the same room.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "underfire"
PICTURE = ROOT / "docs" / "pictures" / "rooms.svg"

GROUND = "ground floor"
LAYERS = (
    (GROUND,),
    ("drawing", "metrics", "transforms", "data"),
    ("zoo",),
    ("classifiers",),
    ("interpreters",),
    ("system",),
    ("attacks",),
    ("runs", "check"),
    ("detectors", "defenses"),
    ("campaigns", "audits"),
    ("reports",),
    ("cli",),
)
"""Rooms from the bottom to the top. Imports go down, or sideways without a circle."""

WIDTH, HEIGHT, GAP, MARGIN = 250, 62, 40, 24


@cache
def files() -> tuple[Path, ...]:
    """List all Python files of the package."""
    return tuple(sorted(SOURCE.rglob("*.py")))


@cache
def modules() -> frozenset[str]:
    """Return the dotted names of all files of the package."""
    return frozenset(module_name(path) for path in files())


def module_name(path: Path) -> str:
    """Return the dotted name of a file of the package."""
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def imported(path: Path) -> tuple[tuple[str, int], ...]:
    """List the modules that a file imports, with line numbers: also inside functions and under TYPE_CHECKING."""
    return tuple(_imported(path))


def _imported(path: Path) -> Iterator[tuple[str, int]]:
    package = module_name(path).split(".") if path.name == "__init__.py" else module_name(path).split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:  # "from underfire import metrics" imports underfire.metrics
                inner = f"{source}.{alias.name}"
                yield (inner if inner in modules() else source), node.lineno


def room_of(module: str) -> str:
    """Return the room of a module: a folder, ``system``, or the ground floor; empty for the package and for others."""
    if not module.startswith("underfire.") or module == "underfire.__main__":
        return ""
    first = module.split(".")[1]
    above = {room for layer in LAYERS[1:] for room in layer}
    return first if first in above else GROUND


def imports() -> dict[str, set[str]]:
    """Return the rooms that each room imports."""
    found: dict[str, set[str]] = {}
    for path in files():
        room = room_of(module_name(path))
        if room:
            others = {room_of(name) for name, _ in imported(path) if name.split(".")[0] == "underfire"}
            found.setdefault(room, set()).update(others - {room, ""})
    return found


def reduced(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """Leave out arrows to rooms that a longer way reaches."""

    def reach(room: str) -> set[str]:
        return set().union(*({other} | reach(other) for other in edges.get(room, ())))

    return {
        room: {other for other in others if not any(other in reach(third) for third in others - {other})}
        for room, others in edges.items()
    }


def about(room: str) -> str:
    """Return the first line of a room's docstring."""
    if room == GROUND:
        modules = [path.stem for path in sorted(SOURCE.glob("*.py")) if room_of(module_name(path)) == GROUND]
        return ", ".join(modules)
    path = SOURCE / room / "__init__.py"
    text = ast.get_docstring(ast.parse((path if path.exists() else SOURCE / f"{room}.py").read_text())) or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("`", "")


def wrapped(text: str, width: int, lines: int) -> list[str]:
    """Cut ``text`` into at most ``lines`` lines of ``width`` characters."""
    found = [""]
    for word in text.split():
        longer = f"{found[-1]} {word}".strip()
        if len(longer) <= width:
            found[-1] = longer
        else:
            found.append(word)
    if len(found) > lines:
        found = [*found[: lines - 1], found[lines - 1][: width - 1].rstrip(" ,") + "…"]
    return found


def draw() -> str:
    """Draw the picture as SVG."""
    edges = imports()
    layers = [[room for room in layer if room in edges or room == GROUND] for layer in LAYERS]
    layers = [layer for layer in layers if layer]
    widest = max(map(len, layers))
    width = 2 * MARGIN + widest * WIDTH + (widest - 1) * GAP
    height = 2 * MARGIN + len(layers) * HEIGHT + (len(layers) - 1) * GAP
    places: dict[str, tuple[float, float, float]] = {}
    for level, layer in enumerate(layers):
        y = height - MARGIN - HEIGHT - level * (HEIGHT + GAP)
        each = width - 2 * MARGIN if layer == [GROUND] else WIDTH
        left = (width - len(layer) * each - (len(layer) - 1) * GAP) / 2
        for place, room in enumerate(layer):
            places[room] = (left + place * (each + GAP), y, each)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'role="img" aria-label="Rooms of the package; arrows are imports">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#6b7280"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for room, others in sorted(reduced(edges).items()):
        for other in sorted(others):
            (x, y, w), (u, v, t) = places[room], places[other]
            ends = _ends(x, y, w, u, v, t)
            parts.append(f'<path d="{ends}" fill="none" stroke="#6b7280" stroke-width="1.4" marker-end="url(#tip)"/>')
    for room, (x, y, w) in places.items():
        parts.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{HEIGHT}" rx="8" fill="#eef2ff" stroke="#4f46e5"/>'
        )
        parts.append(f'<text x="{x + 12:g}" y="{y + 20:g}" font-size="14" font-weight="bold">{escape(room)}</text>')
        for number, line in enumerate(wrapped(about(room), int(w / 5.9), 2)):
            parts.append(f'<text x="{x + 12:g}" y="{y + 37 + 14 * number:g}" font-size="11">{escape(line)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _ends(x: float, y: float, w: float, u: float, v: float, t: float) -> str:
    """Draw a line from the bottom of one box to the top of another, or between the sides of boxes on one level."""
    if y == v:
        return f"M{x + w:g} {y + HEIGHT / 2:g}H{u:g}" if x < u else f"M{x:g} {y + HEIGHT / 2:g}H{u + t:g}"
    start = x + w / 2
    end = min(max(start, u + 20), u + t - 20)
    if v - y > HEIGHT + GAP:  # past the boxes between them
        side = x if u <= x else x + w
        bend = side - 60 if u <= x else side + 60
        return f"M{side:g} {y + HEIGHT / 2:g}C{bend:g} {y + HEIGHT / 2:g} {end:g} {v - 60:g} {end:g} {v:g}"
    return f"M{start:g} {y + HEIGHT:g}L{end:g} {v:g}"


def main() -> None:
    PICTURE.write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
