"""The differences between two configurations, in words."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from underfire.errors import StoreError
from underfire.text import first_few

LONGEST = 50
"""The largest number of characters of a value that is shown."""
BEFORE = 15
"""The number of characters before the first difference of two long values."""

HASHES = {
    "data_sha256": "the images or labels of the data were changed",
    "classifier_sha256": "the classifier or its preparation was changed",
    "weights_sha256": "the weights were changed",
    "detectors_sha256": "the detector to evade is another one, or was fitted again",
}
"""The meaning of hashes in ``run.json``, for messages."""
Found = tuple[str, str, str]
"""The name of a part, what it was, and what it is."""


def differences(held: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """List the differences between two JSON objects in words, field by field.

    Attacks and interpreters are known by the text that Python shows for them: it is taken apart, so that only the
    settings that differ are named. Long values are shortened.

    Args:
        held: the former object. Entries that ``now`` does not have are left out.
        now: the present object.
    """
    found = [each for name in now for each in _values(name, held.get(name), now[name], top=True)]
    # The keys of cells depend on all the rest: they say something only if nothing else does.
    telling = [each for each in found if not (each[0].startswith("cells.") and each[0].endswith(".key"))]
    return [f"{name} was {old}, is {new}" for name, old, new in telling or found]


def another_run(folder: Path, changed: Sequence[str]) -> StoreError:
    """Make the error for a folder that holds another run; ``changed`` are the differences in words."""
    meanings = [why for name, why in HASHES.items() if any(each.startswith(name) for each in changed)]
    said = f" That is: {'; '.join(meanings)}." if meanings else ""
    return StoreError(
        f"output folder {folder} holds another run: {first_few(changed, 5, '; ')}.{said} Nothing was changed."
    )


def _values(name: str, old: Any, new: Any, top: bool = False) -> Iterator[Found]:
    """Compare two JSON values."""
    if old == new:
        return
    old, new = _by_label(old), _by_label(new)
    if isinstance(new, dict) and (top or isinstance(old, dict)):
        before = old if isinstance(old, dict) else {}
        for part in new | before:
            yield from _values(f"{name}.{part}", before.get(part), new.get(part))
        return
    trees = [_parsed(value) for value in (old, new)]
    if trees[0] is not None and trees[1] is not None:
        yield from _trees(name, trees[0], trees[1])
    else:
        yield name, *_shortened(repr(old), repr(new))


def _by_label(value: Any) -> Any:
    """Turn a list of cells into a dict by label."""
    if isinstance(value, list) and value and all(isinstance(each, dict) and "label" in each for each in value):
        return {each["label"]: each for each in value}
    return value


def _parsed(text: Any) -> ast.expr | None:
    """Parse the text of a part, such as ``PGD(eps=0.1)``; None if it is anything else."""
    if not isinstance(text, str) or not text.endswith(")"):
        return None
    try:
        found = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, ast.Call) else None


def _trees(name: str, old: ast.expr, new: ast.expr) -> Iterator[Found]:
    """Compare two expressions, argument by argument while they are calls of the same class."""
    if ast.dump(old) == ast.dump(new):
        return
    if isinstance(old, ast.Call) and isinstance(new, ast.Call) and ast.dump(old.func) == ast.dump(new.func):
        before, after = _arguments(old), _arguments(new)
        for part in after | before:
            one, other = before.get(part), after.get(part)
            if one is not None and other is not None:
                yield from _trees(f"{name}.{part}", one, other)
            else:
                was, now = ("missing" if value is None else ast.unparse(value) for value in (one, other))
                yield f"{name}.{part}", *_shortened(was, now)
        return
    lists = [each.elts for each in (old, new) if isinstance(each, ast.Tuple | ast.List)]
    if len(lists) == 2 and len(lists[0]) == len(lists[1]) and any(isinstance(each, ast.Call) for each in lists[0]):
        for place, (one, other) in enumerate(zip(*lists, strict=True)):
            yield from _trees(f"{name}[{place}]", one, other)
        return
    yield name, *_shortened(ast.unparse(old), ast.unparse(new))


def _arguments(call: ast.Call) -> dict[str, ast.expr]:
    """Return the arguments of a call by name, or by place."""
    return {str(place): value for place, value in enumerate(call.args)} | {
        each.arg or "**": each.value for each in call.keywords
    }


def _shortened(old: str, new: str) -> tuple[str, str]:
    """Cut two texts to the part around their first difference, if they are long."""
    same = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    start = max(0, same - BEFORE)

    def cut(text: str) -> str:
        if len(text) <= LONGEST:
            return text
        first = min(start, len(text) - LONGEST)
        end = first + LONGEST
        return f"{'...' if first else ''}{text[first:end]}{'...' if end < len(text) else ''}"

    return cut(old), cut(new)
