"""Run docs/notebook.ipynb, and write what its cells show into it.

    python -m tools.notebook

It needs no Jupyter: cells are run as Python, and the value of a cell's last line is shown as a notebook shows it. A
test runs the notebook in the same way, in fewer steps.
"""

from __future__ import annotations

import ast
import base64
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"

Output = dict[str, Any]
VALUE = "_value"
"""The name that holds the value of a cell's last line."""
COLOURS = 128
"""The number of colours of pictures in the file, which stays small so. Jupyter would write all of them."""


def code_cells(notebook: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the cells with code."""
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def run(sources: Sequence[str], space: dict[str, Any]) -> list[list[Output]]:
    """Run cells one after the other.

    Args:
        sources: the code of each cell.
        space: the names that the cells share; it has what they define afterwards.

    Returns:
        The outputs of each cell, as a notebook file holds them.
    """
    return [_run(source, number, space) for number, source in enumerate(sources, 1)]


def _run(source: str, number: int, space: dict[str, Any]) -> list[Output]:
    tree = ast.parse(source)
    last = tree.body[-1] if tree.body else None
    if isinstance(last, ast.Expr):
        tree.body[-1] = ast.fix_missing_locations(ast.copy_location(_kept(last.value), last))
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(tree, f"cell {number}", "exec"), space)
    value = space.pop(VALUE, None)
    found: list[Output] = []
    if printed.getvalue():
        found.append({"output_type": "stream", "name": "stdout", "text": _lines(printed.getvalue())})
    if value is not None:
        shown = {"data": _shown(value), "metadata": {}, "execution_count": number, "output_type": "execute_result"}
        found.append(shown)
    return found


def _kept(value: ast.expr) -> ast.Assign:
    """Make the assignment that keeps the value of a cell's last line."""
    return ast.Assign(targets=[ast.Name(VALUE, ast.Store())], value=value)


def _shown(value: Any) -> dict[str, Any]:
    if isinstance(value, Image.Image):
        file = io.BytesIO()
        value.quantize(COLOURS).save(file, format="PNG", optimize=True)
        text = f"<PIL.Image.Image image mode={value.mode} size={value.width}x{value.height}>"
        return {"image/png": base64.b64encode(file.getvalue()).decode("ascii"), "text/plain": [text]}
    data: dict[str, Any] = {"text/plain": _lines(repr(value))}
    if hasattr(type(value), "_repr_html_"):
        data["text/html"] = _lines(value._repr_html_())
    return data


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def main() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = code_cells(notebook)
    outputs = run(["".join(cell["source"]) for cell in cells], {})
    for number, (cell, shown) in enumerate(zip(cells, outputs, strict=True), 1):
        cell["outputs"], cell["execution_count"] = shown, number
    NOTEBOOK.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
