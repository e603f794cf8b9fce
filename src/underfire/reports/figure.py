"""The figure of a run: what the attack did to some images and to their maps, as one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from underfire.errors import InputError, StoreError
from underfire.reports.outline import draw_outline
from underfire.reports.pictures import Pixels, Values, colour, difference, fitted, overlay
from underfire.reports.sheet import Band, Text, Unit, sheet
from underfire.reports.words import with_interval
from underfire.runs.reader import Case, Run, spread

SIDE, SIDE_OF_MANY = 128, 96


def write_figure(runs: Sequence[Path], out: Path, rows: int = 6) -> Path:
    """Draw clean image, adversarial image, ten times their difference, and the maps: benign, and under the attacks.

    Runs on the same images and classifier share rows, with columns for each interpreter; others follow below.

    Args:
        runs: folders that ``underfire attack`` wrote.
        out: the PNG file. Its folder is made where it does not exist.
        rows: images per group of runs, chosen evenly over the map distances, the best and the worst among them.

    Raises:
        InputError: no runs, or fewer than one row.
        StoreError: a folder holds no finished run, or ``out`` cannot be written.
    """
    if not runs:
        raise InputError("runs is empty; expected at least one folder that 'underfire attack' wrote.")
    if rows < 1:
        raise InputError(f"rows is {rows}; expected at least 1.")
    parts: list[Text | Band] = []
    for group in _groups([Run.read(Path(folder)) for folder in runs]):
        parts += _group(group, rows, above=24 if parts else 0)
    picture = sheet(parts)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        picture.save(out, format="PNG", optimize=True)
    except OSError as error:
        raise StoreError(f"figure {out} cannot be written: {error.strerror or error}.") from error
    return out


def _groups(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs on the same classifier and images together, in the order of the first of each."""
    groups: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        ids = tuple(sorted({case.image_id for cases in run.cases.values() for case in cases}))
        key = (run.record.get("classifier_sha256", run.classifier), run.record.get("data_sha256"), ids)
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def _group(runs: Sequence[Run], rows: int, above: int) -> list[Text | Band]:
    first = runs[0]
    name = first.interpreters[0]
    cases = first.cases[name]
    chosen = [cases[index] for index in spread([case.distance for case in cases], rows)]
    pairs = [(run, interpreter) for run in runs for interpreter in run.interpreters]
    joint = []
    for run in runs:
        for asked, name_or_all in run.headlines:
            share = run.joint_success(run.attack, name_or_all)
            limit = run.summary["joint_success_threshold"][name_or_all]["map_l1_below"] if name_or_all else None
            below = "" if limit is None or not run.keeps else f" (distance below {limit:.3f})"
            joint.append(f"{with_interval(share)} of {share['n']} with {asked}{below}")
    done = "kept" if first.keeps else "reached"
    parts: list[Text | Band] = [
        Text(f"{first.attack} on {first.classifier}", 20, above=above),
        Text(f"Class changed and map {done}: {', '.join(joint)}.", tone="muted"),
    ]
    side = SIDE if len(pairs) <= 1 else SIDE_OF_MANY
    for place, case in enumerate(chosen):
        units = [_images(first, case, side, titled=place == 0)]
        for run, reader in pairs:
            units.append(_maps(run, reader, case.image_id, side, titled=place == 0))
        parts.append(Band(tuple(units)))
    how = (
        f"{len(chosen)} of {len(cases)} images, evenly spread over the distance of the {name} map to the one expected, "
        "from the closest to the farthest"
        if len(chosen) > 1
        else f"The image in the middle of {len(cases)}, by the distance of its {name} map to the one expected"
    )
    outline = " The line is the object's true outline." if first.has_masks else ""
    several = " The adversarial image is that of the first run." if len(runs) > 1 else ""
    parts.append(
        Text(
            f"{how}. Difference: ten times, around grey. Maps lie over the image that they were read from, yellow "
            f"marks what matters most; their distance is the mean absolute difference, in [0, 1].{outline}{several}",
            tone="muted",
            size=13,
            above=4,
        )
    )
    return parts


def _images(run: Run, case: Case, side: int, titled: bool) -> Unit:
    clean, changed = run.image(case.rows["clean"]), run.image(case.row)
    pictures = tuple(fitted(colour(part), side) for part in (clean, changed, difference(clean, changed)))
    row = case.row
    reached = "reached" if row["success"] else "not reached"
    return Unit(
        pictures,
        ("clean", "adversarial", "difference x10") if titled else (),
        caption=f"{run.class_name(row['label'])} -> {run.class_name(row['target'])}: {reached}",
        title="image" if titled else "",
    )


def _maps(run: Run, interpreter: str, image_id: str, side: int, titled: bool) -> Unit:
    case = next(case for case in run.cases[interpreter] if case.image_id == image_id)
    control = run.control
    names = ["clean", *([control] if control else []), run.attack]
    held = "kept" if run.keeps else "reached"
    kept = {"joint": held, "class": f"not {held}", "failed": "failed"}[case.outcome]
    distances = [f"{case.rows[name]['map_l1_target']:.3f}" for name in names]
    pictures = [map_picture(run, case, name, side) for name in names]
    heads = ["benign map", *(["prediction only"] if control else []), f"under {run.attack}"]
    notes = ["distance" if run.keeps else f"distance {distances[0]}", *distances[1:-1], f"{distances[-1]}, {kept}"]
    wanted = run.wanted(interpreter, image_id)
    if wanted is not None:
        pictures.insert(1, _over(run, case, "clean", wanted, side))
        heads.insert(1, "wanted map")
        notes.insert(1, "")
    return Unit(tuple(pictures), tuple(heads) if titled else (), tuple(notes), title=interpreter if titled else "")


def map_picture(run: Run, case: Case, attack: str, side: int) -> Pixels:
    """The map of one attack over the image that it was read from, with the object's true outline where it is known."""
    return _over(run, case, attack, run.map(attack, case.interpreter, case.image_id), side)


def _over(run: Run, case: Case, attack: str, values: Values, side: int) -> Pixels:
    """``values`` h x w over the image of an attack."""
    picture = overlay(fitted(run.image(case.rows[attack]), side), values)
    mask = run.mask(case.image_id)
    return picture if mask is None else draw_outline(picture, mask)
