"""The figure of one or more runs: images and their maps, clean and under the attacks, as one PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from underfire.drawing.pictures import Pixels, Values, colour, difference, fitted, overlay
from underfire.drawing.sheet import Band, Text, Unit, sheet
from underfire.errors import InputError
from underfire.reports.account import Account, Source, open_accounts
from underfire.reports.outline import draw_outline
from underfire.reports.output import writing
from underfire.reports.wording import wording
from underfire.reports.words import caution, map_titles, percent, points, with_interval
from underfire.runs.comparison import Case, Comparison
from underfire.text import counted, plain

SIDE, SIDE_OF_MANY = 128, 96
"""The size of pictures in pixels, with one pair of attack and interpreter, and with several."""


def write_figure(runs: Sequence[Source], out: Path, rows: int = 6) -> Path:
    """Draw a figure: images, ten times their change, and their maps, benign and under the attacks.

    Attacks on the same images and classifier share the rows, with columns for each attack and interpreter. Attacks on
    other images or classifiers follow below.

    Args:
        runs: runs, or folders that ``underfire attack`` wrote.
        out: the PNG file. Its folder is made if it does not exist.
        rows: the number of images for attacks that share rows, at least 1. They are spread evenly over the map
            distances, the smallest and the largest included.

    Returns:
        ``out``.

    Raises:
        InputError: ``runs`` is empty, or ``rows`` is less than 1.
        StoreError: a folder holds no finished run, or ``out`` cannot be written.
    """
    if rows < 1:
        raise InputError(f"rows is {rows}; expected at least 1.")
    parts: list[Text | Band] = []
    for accounts in _groups(open_accounts(runs)):
        parts += _group(accounts, rows, above=24 if parts else 0)
    with writing(out, "figure") as part:
        sheet(parts).save(part, format="PNG")
    return out


def _groups(accounts: Sequence[Account]) -> list[list[Account]]:
    """Group attacks on the same classifier and images; groups in the order of their first attacks."""
    groups: dict[tuple[object, ...], list[Account]] = {}
    for account in accounts:
        record = account.run.record
        hashes = (record.get("classifier_sha256", account.part.classifier), record.get("data_sha256"))
        groups.setdefault((*hashes, *account.part.image_ids), []).append(account)
    return list(groups.values())


def _group(accounts: Sequence[Account], rows: int, above: int) -> list[Text | Band]:
    first = accounts[0]
    part = first.part
    chosen = first.chosen(rows)
    attacks = list(dict.fromkeys(account.part.attack for account in accounts))
    pairs = [(account.part, name) for account in accounts for name in account.part.interpreters]
    parts: list[Text | Band] = [
        Text(f"{', '.join(map(plain, attacks))} on {part.classifier}", 20, above=above),
        Text(f"Class reached and map {first.wording.done}, of {counted(first.attacked, 'image')}:", tone="muted"),
    ]
    for account in accounts:
        prefix = f"{plain(account.part.attack)}, " if len(attacks) > 1 else ""
        parts += [Text(prefix + _headline(account, *headline), tone="muted") for headline in account.headlines]
    side = SIDE if len(pairs) <= 1 else SIDE_OF_MANY
    for place, order in enumerate(chosen):
        titled = place == 0
        units = [_images(part, part.case(part.interpreters[0], order), side, titled)]
        units += [_maps(other, other.case(name, order), side, titled) for other, name in pairs]
        parts.append(Band(tuple(units)))
    for account in accounts:
        prefix = f"{plain(account.part.attack)}, " if len(attacks) > 1 else ""
        parts += [Text(prefix + _beside(account, name), tone="muted", size=13) for name in account.part.interpreters]
    return [*parts, Text(_caption(accounts, len(chosen)), tone="muted", size=13, above=4)]


def _headline(account: Account, asked: str, interpreter: str | None) -> str:
    """Write joint success with its limit, its control, and a caution if there is a reason."""
    said = f"{asked}: {with_interval(account.joint('attack', interpreter))}"
    if interpreter is not None and account.part.keeps:
        said += f" (distance below {account.part.mean_limit(interpreter):.3f})"
    if account.part.has("control"):
        said += f", prediction only {with_interval(account.joint('control', interpreter))}"
    warning = caution(account, interpreter)
    return f"{said} - {warning}" if warning else said


def _beside(account: Account, interpreter: str) -> str:
    """Write what joint success must be compared with: the prediction-only attack, and maps of other images."""
    lead, found = account.lead(interpreter), account.chance(interpreter)
    passed = {name: found[name]["mean"] for name in ("other_map", "average_map")}
    said = [] if lead is None else [f"{points(lead)} more than prediction only"]
    if None not in passed.values():
        other, average = (percent(share) for share in passed.values())
        said.append(f"by chance, {other} of other images' maps and {average} of average maps would pass")
    return f"{plain(interpreter)}: {'; '.join(said) or 'nothing to compare with'}."


def _caption(accounts: Sequence[Account], count: int) -> str:
    first, name = accounts[0], plain(accounts[0].part.interpreters[0])
    text = (
        f"{count} of {first.attacked} images, evenly spread over the distance of the {name} map to the wanted one, "
        "from the nearest to the farthest."
        if count > 1
        else f"The image in the middle of {first.attacked}, by the distance of its {name} map to the wanted one."
    )
    text += (
        " Difference: ten times, around grey. Maps lie over the image that they were read from; yellow marks what "
        "matters most. Distance: mean absolute difference from the wanted map, in [0, 1]."
    )
    if first.run.has_masks:
        text += " The line is the object's true outline."
    if len(accounts) > 1:
        text += f" The adversarial image is that of {first.part.title}."
    return text


def _images(part: Comparison, case: Case, side: int, titled: bool) -> Unit:
    clean, changed = part.image(case.rows["clean"]), part.image(case.row)
    pictures = tuple(fitted(colour(picture), side) for picture in (clean, changed, difference(clean, changed)))
    reached = "reached" if case.row["success"] else "not reached"
    return Unit(
        pictures,
        ("clean", "adversarial", "difference x10") if titled else (),
        caption=f"{part.class_name(case.row['label'])} -> {part.toward(case.row)}: {reached}",
        title="image" if titled else "",
    )


def _maps(part: Comparison, case: Case, side: int, titled: bool) -> Unit:
    titles = map_titles(part)
    done = wording(part.keeps).done
    kept = {"joint": done, "class": f"not {done}", "failed": "failed"}[case.verdict]
    distances = [f"{case.rows[role]['map_l1_target']:.3f}" for role in titles]
    pictures = [map_picture(part, case, role, side) for role in titles]
    heads = list(titles.values())
    notes = ["distance" if part.keeps else f"distance {distances[0]}", *distances[1:-1], f"{distances[-1]}, {kept}"]
    wanted = part.wanted(case.interpreter, case.image_id)
    if wanted is not None:
        pictures.insert(1, _over(part, case, "clean", wanted, side))
        heads.insert(1, "wanted map")
        notes.insert(1, "")
    title = case.interpreter if titled else ""
    return Unit(tuple(pictures), tuple(heads) if titled else (), tuple(notes), title=title)


def map_picture(part: Comparison, case: Case, role: str, side: int) -> Pixels:
    """Draw a map over its image, with the object's true outline if the data have masks: uint8 H x W x 3."""
    return _over(part, case, role, part.map(role, case.interpreter, case.image_id), side)


def _over(part: Comparison, case: Case, role: str, values: Values, side: int) -> Pixels:
    picture = overlay(fitted(part.image(case.rows[role]), side), values)
    mask = part.mask(case.image_id)
    return picture if mask is None else draw_outline(picture, mask)
