"""The page's gallery: images of each comparison with their maps and verdicts, as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, features

from underfire.drawing.pictures import Pixels, Values, difference, veil
from underfire.reports.account import Account
from underfire.reports.outline import outline_path
from underfire.reports.words import map_titles
from underfire.runs.comparison import Case, Comparison, Verdict
from underfire.text import plain

SMALL = 96
"""Images up to this size in pixels are stored exactly, and their pixels are shown as squares."""
LARGEST = 256
"""Larger images are reduced to this size in pixels."""
LEVELS = 48
"""Maps are rounded to so many levels: more than an eye can tell apart, in a third of the bytes."""


@dataclass(frozen=True)
class Overlay:
    """A map that the page lays over an image.

    Args:
        title: the caption, such as "benign map".
        under: the name of the image below, a key of ``Card.images``.
        veil: the coloured map as a data URI.
        alt: a description for screen readers.
        distance: the distance to the wanted map; None for the wanted map itself.
    """

    title: str
    under: str
    veil: str
    alt: str
    distance: float | None


@dataclass(frozen=True)
class MapRow:
    """One interpreter's maps of an image, with the verdict in ``words``.

    ``distance`` is that of the map under the attack to the wanted map.
    """

    interpreter: str
    verdict: Verdict
    words: str
    distance: float
    overlays: tuple[Overlay, ...]


@dataclass(frozen=True)
class Card:
    """One image of a comparison.

    Args:
        comparison: the comparison's number on the page.
        title, path: the image's id, and its file.
        order: the image's place among the attacked images.
        label, target: the names of its own class and of the target class.
        width, height: its size in pixels.
        small: True if it is stored exactly.
        images: data URIs by name: ``clean``, ``attack``, ``difference``, and ``control`` if there is one.
        outline: the true mask's outline as an SVG path; empty if the data have no masks.
        mask_size: the height and width of the mask, or (0, 0).
        rows: the maps, a row for each interpreter.
    """

    comparison: int
    title: str
    path: str
    order: int
    label: str
    target: str
    width: int
    height: int
    small: bool
    images: dict[str, str]
    outline: str
    mask_size: tuple[int, int]
    rows: tuple[MapRow, ...]


def cards(account: Account, number: int, count: int) -> list[Card]:
    """Make the cards of at most ``count`` images, chosen evenly over the map distances, in the data's order.

    Args:
        account: the comparison.
        number: the comparison's number on the page.
        count: the largest number of cards.
    """
    part = account.part
    return [
        _card(account, number, [part.case(name, order) for name in part.interpreters])
        for order in sorted(account.chosen(count))
    ]


def _card(account: Account, number: int, cases: Sequence[Case]) -> Card:
    first, part = cases[0], account.part
    clean, changed = part.image(first.rows["clean"]), part.image(first.row)
    pictures = {"clean": clean, "attack": changed, "difference": difference(clean, changed)}
    if part.has("control"):
        pictures["control"] = part.image(first.rows["control"])
    mask = part.mask(first.image_id)
    height, width = clean.shape[:2]
    return Card(
        comparison=number,
        title=plain(first.image_id),
        path=plain(first.row["path"]),
        order=first.order,
        label=part.class_name(first.row["label"]),
        target=part.class_name(first.row["target"]),
        width=width,
        height=height,
        small=max(width, height) <= SMALL,
        images={name: data_uri(picture) for name, picture in pictures.items()},
        outline="" if mask is None else outline_path(mask),
        mask_size=(0, 0) if mask is None else (mask.shape[0], mask.shape[1]),
        rows=tuple(_row(part, case, account.wording.verdicts[case.verdict]) for case in cases),
    )


def _row(part: Comparison, case: Case, words: str) -> MapRow:
    overlays = []
    for role, title in map_titles(part).items():
        values = part.map(role, case.interpreter, case.image_id)
        distance = None if part.keeps and role == "clean" else case.rows[role]["map_l1_target"]
        overlays.append(_overlay(case, title, role, values, distance))
    wanted = part.wanted(case.interpreter, case.image_id)
    if wanted is not None:
        overlays.insert(1, _overlay(case, "wanted map", "clean", wanted, None))
    return MapRow(plain(case.interpreter), case.verdict, words, case.distance, tuple(overlays))


def _overlay(case: Case, title: str, under: str, values: Values, distance: float | None) -> Overlay:
    alt = f"{plain(case.interpreter)} map of image {plain(case.image_id)}, {title}"
    alt += "" if distance is None else f": distance {distance:.3f} to the wanted map"
    return Overlay(title, under, map_uri(values), alt, distance)


def data_uri(image: Pixels) -> str:
    """Encode an image, uint8 H x W or H x W x 3, as a data URI.

    It is exact up to 96 pixels. Larger images are compressed with loss, and are at most 256 pixels large.
    """
    picture = Image.fromarray(image)
    if max(picture.size) > LARGEST:
        picture.thumbnail((LARGEST, LARGEST), Image.Resampling.LANCZOS)
    if max(picture.size) <= SMALL:
        return _encoded(picture, "PNG", optimize=True)
    if features.check("webp"):
        return _encoded(picture, "WEBP", quality=80)
    return _encoded(picture, "JPEG", quality=80)


def map_uri(values: Values) -> str:
    """Encode a map h x w in [0, 1] as a coloured data URI that is transparent at 0.

    Values are rounded by at most 1/94, and maps larger than 128 pixels are reduced to it.
    """
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
