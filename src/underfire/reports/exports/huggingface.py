"""The format ``huggingface``: the saved images of runs, with their measures, as a Hugging Face image folder.

``datasets.load_dataset("imagefolder", data_dir=...)`` reads it. Its rules: one metadata file names each image in
``file_name``; and no name of a file or folder may hold a word such as "test", which would make a split of it. So files
have numbers for names, and all names of runs, attacks and classes are in ``metadata.jsonl``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from underfire.attacks.measures import MEASURES
from underfire.reports.detected import Detected
from underfire.runs.cells import SETTLED_IN_KEYS
from underfire.runs.comparison import Comparison
from underfire.runs.run import Run
from underfire.text import plain, without_folders

ROLES = ("attack", "control", "noise", "clean")
"""The images that are exported. Reseeded ones are equal to the clean ones."""
METADATA = "metadata.jsonl"
_Saved = tuple[Path, dict[str, Any]]
"""A saved image of a run, and its row of metadata."""


def write_huggingface(runs: Sequence[Run], out: Path) -> None:
    """Write the images of all attacks and controls, their measures, and a card.

    Args:
        runs: the finished runs.
        out: an empty folder.

    Raises:
        StoreError: a run cannot be read.
        OSError: a file cannot be written.
    """
    # The reader takes the type of a column from the first rows. So rows come first that together have a value in each.
    first, known = set[tuple[int, int]](), set[str]()
    total = 0
    for number, run in enumerate(runs):
        for place, (_, row) in enumerate(_images(run, number)):
            total += 1
            new = {name for name, value in row.items() if value is not None} - known
            if new:
                known |= new
                first.add((number, place))
    with (out / METADATA).open("w", encoding="utf-8") as file:
        for early in (True, False):
            for number, run in enumerate(runs):
                for place, (source, row) in enumerate(_images(run, number)):
                    if ((number, place) in first) is not early:
                        continue
                    copy = out / row["file_name"]
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(source, copy)
                    held = {name: value for name, value in row.items() if name in known}
                    file.write(json.dumps(held, allow_nan=False) + "\n")
    (out / "README.md").write_text(_card(runs, total), encoding="utf-8")


def _images(run: Run, number: int) -> Iterator[_Saved]:
    """Yield the saved images of a run, cell by cell."""
    cells = list(run.cells)
    seen: set[str] = set()
    for part in run.comparisons:
        for role in ROLES:
            if part.has(role) and part.labels[role] not in seen:
                seen.add(part.labels[role])
                folder = f"images/{number:04d}"
                clean = f"{folder}/{cells.index(part.labels['clean']):03d}"
                yield from _of_cell(run, part, role, f"{folder}/{cells.index(part.labels[role]):03d}", clean)


def _of_cell(run: Run, part: Comparison, role: str, folder: str, clean: str) -> Iterator[_Saved]:
    label = part.labels[role]
    cell = run.cells[label]
    table = run.rows(["image_id", "image_file", "label", "target", "interpreter"], label).to_pylist()
    rows = {row["image_id"]: row for row in table}
    measures, held = list(_measures(run, part, role)), Detected.of(run.path)
    for order, image_id in enumerate(run.image_ids):
        row = rows[image_id]
        target = None if role == "clean" else row["target"]
        yield (
            run.path / row["image_file"],
            {
                "file_name": f"{folder}/{order:06d}.png",
                "clean_file_name": f"{clean}/{order:06d}.png",
                "run": plain(run.name),
                "classifier": without_folders(run.classifier),
                "kind": role,
                "attack": without_folders(plain(cell.attack)),
                "eps": cell.eps,
                "attacked_interpreters": "+".join(without_folders(plain(name)) for name in cell.attacked),
                "image_id": plain(image_id),
                "label": int(row["label"]),
                "label_name": plain(run.class_name(row["label"])),
                "target": -1 if target is None else int(target),
                "target_name": "" if target is None else plain(run.class_name(target)),
                **{name: _value(values[order]) for name, values in measures},
                **({} if held is None else dict.fromkeys(held.columns) | held.values(label, image_id)),
            },
        )


def _measures(run: Run, part: Comparison, role: str) -> Iterator[tuple[str, Any]]:
    """Yield the columns of measures: those of images once, those of maps for each interpreter that reads."""
    names = {measure.name: measure.per for measure in run.measures if not measure.name.startswith("chance_")}
    for name, per in ({name: MEASURES[name].per for name in SETTLED_IN_KEYS} | names).items():
        readers = part.interpreters[:1] if per == "image" else part.interpreters
        for interpreter in readers:
            called = without_folders(plain(interpreter))
            twice = sum(without_folders(plain(other)) == called for other in part.interpreters) > 1
            called += f"_{part.interpreters.index(interpreter) + 1}" if twice else ""
            yield (name if per == "image" else f"{name}_{called}"), part.column(role, interpreter, name)


def _value(value: Any) -> Any:
    """Turn a value of a column into a JSON value; None for NaN and infinity."""
    if isinstance(value, bool | np.bool_):
        return bool(value)
    number = float(value)
    return number if np.isfinite(number) else None


_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def _card(runs: Sequence[Run], total: int) -> str:
    """Write the card of the data set: a YAML head, and what the columns mean."""
    size = next((name for most, name in _SIZES if total < most), "1M<n<10M")
    # The card is made to be shared: of a path, its last part.
    named = [Path(str(run.configuration.get("data", "unknown"))).name or "a folder" for run in runs]
    data = ", ".join(dict.fromkeys(f"`{_code(name)}`" for name in named))
    measures = {name: MEASURES[name] for name in SETTLED_IN_KEYS}
    measures |= {measure.name: measure for run in runs for measure in run.measures}
    meanings = [f"- `{name}`: {measure.meaning}" for name, measure in measures.items() if name[:7] != "chance_"]
    scored = [held for run in runs if (held := Detected.of(run.path)) is not None]
    meanings += [f"- `{name}`: {said}" for held in scored for name, said in held.meanings.items()]
    lines = [
        *("---", "pretty_name: Images of underfire runs", "license: unknown", "task_categories:"),
        *("- image-classification", "tags:", "- adversarial", "- explainability", "- underfire"),
        *("size_categories:", f"- {size}", "---", "", "# Images of underfire runs", ""),
        f"{total} images of {len(runs)} run{'' if len(runs) == 1 else 's'}: clean images, the same images under "
        "attacks on a classifier and its explanations, and controls.",
        "",
        f"**Origin and licence of the images are unknown.** The runs call their data {data}; underfire does not know "
        "where these come from, and claims no licence for them. Find out before you share this folder.",
        "",
        "```python",
        *("from datasets import load_dataset", ""),
        'data = load_dataset("imagefolder", data_dir="THIS_FOLDER", split="train")',
        *("```", "", "Columns:", ""),
        "- `image`: the 8-bit image that was judged; `clean` (or `clean_file_name`): the same image without the attack",
        "- `kind`: `clean`, `attack`, `control` (an attack on the prediction alone) or `noise` (random noise)",
        "- `run`, `classifier`, `attack`, `eps` (for pixels in [0, 1]), `attacked_interpreters`: what was run",
        "- `image_id`, `label`, `label_name`: the image and its own class",
        "- `target`, `target_name`: the class that the attack wanted; -1 and empty for none",
        "- measures of maps have the interpreter that read behind their name, such as `map_l1_cam`:",
        "",
        *dict.fromkeys(meanings),
        "",
    ]
    return "\n".join(lines)


def _code(text: object) -> str:
    return plain(text).replace("`", "'")
