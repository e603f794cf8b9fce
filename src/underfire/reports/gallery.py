"""The page's gallery: some images of each run as small data URIs, with their maps and what became of them."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, features

from underfire.reports.outline import outline_path
from underfire.reports.pictures import Pixels, Values, difference, veil
from underfire.runs.reader import Case, Outcome, Run, spread
from underfire.text import plain

SMALL = 96  # up to here, pixels are shown as squares, and are stored exactly
LARGEST = 256  # what the page shows of large images; the run's folder has them whole
LEVELS = 48  # of a map: more than an eye tells apart, and a third of the bytes

OUTCOMES: dict[Outcome, str] = {
    "joint": "class changed, map kept",
    "class": "class changed, map gave it away",
    "failed": "class not reached",
}
TOWARD: dict[Outcome, str] = {
    "joint": "class changed, wanted map reached",
    "class": "class changed, wanted map not reached",
    "failed": "class not reached",
}
"""The same of attacks toward another map than the benign one."""


@dataclass(frozen=True)
class Overlay:
    """A map to be laid over the image that it was read from, with its distance to the one that is expected where it is
    not that one itself. ``under`` names that image; ``veil`` is a data URI."""

    title: str
    under: str
    veil: str
    alt: str
    distance: float | None


@dataclass(frozen=True)
class Reading:
    """One interpreter's maps of an image, what became of it, and the map distance under attack."""

    interpreter: str
    outcome: Outcome
    verdict: str
    distance: float
    overlays: tuple[Overlay, ...]


@dataclass(frozen=True)
class Card:
    """One image of a run: names, pictures as data URIs by what they show, and a reading for each interpreter."""

    run: int
    title: str
    path: str
    order: int
    label: str
    target: str
    confidence: float
    width: int
    height: int
    small: bool
    images: dict[str, str]
    outline: str
    mask_size: tuple[int, int]
    readings: tuple[Reading, ...]


def choose(run: Run, count: int) -> list[str]:
    """Ids of at most ``count`` images, evenly over the map distances of the run's first interpreter, ends included; in
    the data's order."""
    cases = run.cases[run.interpreters[0]]
    return [cases[index].image_id for index in sorted(spread([case.distance for case in cases], count))]


def cards(run: Run, number: int, count: int) -> list[Card]:
    """The cards of the images that ``choose`` picks.

    Args:
        number: of the run on the page.
    """
    by_id = {name: {case.image_id: case for case in run.cases[name]} for name in run.interpreters}
    return [_card(run, number, [by_id[name][image_id] for name in run.interpreters]) for image_id in choose(run, count)]


def _card(run: Run, number: int, cases: Sequence[Case]) -> Card:
    first = cases[0]
    clean, changed = run.image(first.rows["clean"]), run.image(first.row)
    pictures = {"clean": clean, "adversarial": changed, "difference": difference(clean, changed)}
    if run.control:
        pictures["control"] = run.image(first.rows[run.control])
    mask = run.mask(first.image_id)
    height, width = clean.shape[:2]
    return Card(
        run=number,
        title=plain(first.image_id),
        path=plain(first.row["path"]),
        order=first.order,
        label=run.class_name(first.row["label"]),
        target=run.class_name(first.row["target"]),
        confidence=first.row["confidence"],
        width=width,
        height=height,
        small=max(width, height) <= SMALL,
        images={name: data_uri(picture) for name, picture in pictures.items()},
        outline="" if mask is None else outline_path(mask),
        mask_size=(0, 0) if mask is None else (mask.shape[0], mask.shape[1]),
        readings=tuple(_reading(run, case) for case in cases),
    )


def _reading(run: Run, case: Case) -> Reading:
    shown = [("benign map", "clean", "clean")]
    if run.control:
        shown.append(("prediction only", "control", run.control))
    shown.append((f"under {plain(run.attack)}", "adversarial", run.attack))
    overlays = []
    for title, under, attack in shown:
        values = run.map(attack, case.interpreter, case.image_id)
        expected = run.keeps and attack == "clean"
        overlays.append(_overlay(case, title, under, values, None if expected else case.rows[attack]["map_l1_target"]))
    wanted = run.wanted(case.interpreter, case.image_id)
    if wanted is not None:
        overlays.insert(1, _overlay(case, "wanted map", "clean", wanted, None))
    return Reading(
        interpreter=plain(case.interpreter),
        outcome=case.outcome,
        verdict=(OUTCOMES if run.keeps else TOWARD)[case.outcome],
        distance=case.distance,
        overlays=tuple(overlays),
    )


def _overlay(case: Case, title: str, under: str, values: Values, distance: float | None) -> Overlay:
    alt = f"{plain(case.interpreter)} map of image {plain(case.image_id)}, {title}"
    alt += "" if distance is None else f": distance {distance:.3f} to the map that is expected"
    return Overlay(title, under, map_uri(values), alt, distance)


def data_uri(image: Pixels) -> str:
    """An image for the page: exact where it is small, otherwise at most 256 pixels, and compressed as photos are."""
    picture = Image.fromarray(image)
    if max(picture.size) > LARGEST:
        picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    if max(picture.size) <= SMALL:
        return _encoded(picture, "PNG", optimize=True)
    if features.check("webp"):
        return _encoded(picture, "WEBP", quality=80)
    return _encoded(picture, "JPEG", quality=80)


def map_uri(values: Values) -> str:
    """A map's veil: coloured, and clear where it is 0. Exact up to 1/94; never larger than 128 pixels."""
    coarse = np.rint(values * (LEVELS - 1)) / (LEVELS - 1)
    picture = Image.fromarray(veil(coarse))
    if max(picture.size) > 128:
        picture.thumbnail((128, 128), Image.Resampling.BILINEAR)
    if features.check("webp"):
        return _encoded(picture, "WEBP", lossless=True)
    return _encoded(picture, "PNG", optimize=True)


def _encoded(picture: Image.Image, kind: str, **options: object) -> str:
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(content.getvalue()).decode('ascii')}"
