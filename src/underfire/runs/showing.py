"""The display of a run in a notebook."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from underfire.drawing.notebook import Example, Shown, TableRow, caption, example, places
from underfire.runs.comparison import Comparison


def shown(comparisons: Sequence[Comparison], count: int, interpreter: str | None) -> Shown:
    """Collect the table of all attacks of a run, and some images.

    Args:
        comparisons: the attacks with their controls, at least one.
        count: the number of images, of the first attack that ``interpreter`` reads.
        interpreter: the interpreter of the maps; if None, the first one that the first attack is about.
    """
    part = next(part for part in comparisons if interpreter is None or interpreter in part.interpreters)
    name = part.interpreters[0] if interpreter is None else interpreter
    correct = part.files.correct
    chosen = [_example(part, name, order) for order in places(correct.tolist(), count)]
    remark = f"Means over {len(correct)} attacked images, with 95 % intervals."
    return Shown(part.title, [row for each in comparisons for row in _rows(each)], chosen, remark)


def _rows(part: Comparison) -> list[TableRow]:
    return [
        TableRow(
            name,
            reader,
            np.asarray(part.column(role, reader, "success"), dtype=bool),
            part.distances(reader, role),
            part.intervals.joint(part.outcome(role, [reader])),
            is_attack=role == "attack",
        )
        for reader in part.interpreters
        for role, name in part.names.items()
        if role != "clean"
    ]


def _example(part: Comparison, interpreter: str, order: int) -> Example:
    case = part.case(interpreter, order)
    clean, adversarial = part.image(case.rows["clean"]), part.image(case.row)
    maps = {"map before": (clean, part.map("clean", interpreter, case.image_id))}
    wanted = part.wanted(interpreter, case.image_id)
    if wanted is not None:
        maps["wanted map"] = (clean, wanted)
    maps["map after"] = (adversarial, part.map("attack", interpreter, case.image_id))
    names = (part.class_name(case.row["label"]), part.toward(case.row))
    return example(caption(*names, bool(case.row["success"]), case.joint, part.keeps), clean, adversarial, maps)
