"""The gallery as a block of a page: images with their maps and outcomes, as data for the page's script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from underfire.attacks.limits import Numbers
from underfire.reports.account import Account
from underfire.reports.detected import Detected
from underfire.reports.document import Block
from underfire.reports.thumbnails import SMALL, PictureFolder, map_picture, outline_picture, thumbnail
from underfire.reports.words import map_titles
from underfire.runs.folder import Pixels, Row, Values
from underfire.text import plain

COLUMNS = ("image_id", "image_file", "path", "label", "target", "interpreter")


@dataclass(frozen=True)
class Gallery(Block):
    """A gallery.

    Args:
        data: the content for the page's script, as JSON values: ``groups`` (one for each attack and interpreter),
            ``images`` (the attacked images) and ``items`` (one for each image of a group).
        verdicts: the words for the outcomes, by verdict.
        about: sentences that say which images are shown.
    """

    name: ClassVar[str] = "gallery"

    data: dict[str, list[dict[str, Any]]]
    verdicts: dict[str, str]
    about: Sequence[str]


def gallery(accounts: Sequence[Account], labels: Sequence[str], count: int, pictures: PictureFolder) -> Gallery:
    """Make the gallery of one or more attacks, and write its pictures.

    Args:
        accounts: the attacks.
        labels: their names.
        count: the largest number of images, all attacks together. They are chosen evenly over the map distances.
        pictures: takes the thumbnails and the maps.
    """
    # Divide the images among the attacks; the first ones get one image more if they cannot be divided evenly.
    shares = [count // len(accounts) + (number < count % len(accounts)) for number in range(len(accounts))]
    data: dict[str, list[dict[str, Any]]] = {"groups": [], "images": [], "items": []}
    runs = list({id(account.run): account.run for account in accounts}.values())
    places: dict[tuple[int, int], int] = {}
    about = []
    for number, (account, label, share) in enumerate(zip(accounts, labels, shares, strict=True)):
        shelf = _Shelf(account, number, [id(run) for run in runs].index(id(account.run)), pictures)
        chosen = sorted(account.chosen(share))
        about.append((label, _about(account, len(chosen))))
        for order in chosen:
            key = (shelf.run_number, order)
            if key not in places:
                places[key] = len(data["images"])
                data["images"].append(shelf.image(order))
        for name in account.part.interpreters:
            for order in chosen:
                data["items"].append(
                    {
                        "group": len(data["groups"]),
                        "image": places[shelf.run_number, order],
                        **shelf.item(name, order),
                    }
                )
            data["groups"].append(shelf.group(name, label))
    first = next((account for account in accounts if account.part.keeps), accounts[0])
    same = len({said for _, said in about}) == 1
    said = [about[0][1]] if same else [f"{label}: {text}" for label, text in about]
    return Gallery(data, {str(verdict): words for verdict, words in first.wording.verdicts.items()}, said)


def far_limit(distances: Numbers) -> float:
    """Return the distance above which a map is unusually far: Tukey's upper fence, Q3 + 1.5 (Q3 - Q1).

    Args:
        distances: the map distances of all images under one attack, N. NaN values are left out.
    """
    known = distances[~np.isnan(distances)]
    if not len(known):
        return float("inf")
    low, high = np.quantile(known, (0.25, 0.75))
    return float(high + 1.5 * (high - low))


def _about(account: Account, count: int) -> str:
    return (
        f"{count} of {account.attacked} images, spread evenly over the map distances "
        f"({plain(account.part.interpreters[0])}), the nearest and the farthest among them."
        if count < account.attacked
        else ("The only image." if account.attacked == 1 else f"All {account.attacked} images.")
    )


@dataclass
class _Shelf:
    """The images of one attack.

    Args:
        account: the attack.
        number: its number on the page.
        run_number: the number of its run.
        pictures: takes the pictures.
    """

    account: Account
    number: int
    run_number: int
    pictures: PictureFolder
    _rows: dict[str, dict[str, Row]] = field(default_factory=dict)

    @property
    def titles(self) -> dict[str, str]:
        """The titles of maps by role."""
        return map_titles(self.account.part)

    @cached_property
    def factor(self) -> int:
        """The factor of the amplified difference: the largest change of a pixel becomes about three quarters of 255."""
        return int(np.clip(round(192 / max(self.account.largest_change, 1)), 2, 100))

    def group(self, interpreter: str, label: str) -> dict[str, Any]:
        """Describe one attack and interpreter."""
        part = self.account.part
        return {
            **self.account.about(interpreter),
            "label": label,
            "comparison": self.number,
            "control": None if part.control is None else plain(part.control),
            "verdicts": dict(self.account.wording.verdicts),
            "far": _rounded(far_limit(part.distances(interpreter))),
            "factor": self.factor,
            "titles": {**self.titles, "wanted": "wanted map"},
        }

    def image(self, order: int) -> dict[str, Any]:
        """Describe one image before the attack."""
        row = self._row("clean", order)
        pixels = self._pixels("clean", order)
        mask = self.account.part.mask(row["image_id"])
        outline = "" if mask is None else self.pictures.add(self._name(order, "outline"), *outline_picture(mask))
        return {
            "id": plain(row["image_id"]),
            "path": plain(row["path"]),
            "order": order,
            "label": self.account.part.class_name(row["label"]),
            "width": pixels.shape[1],
            "height": pixels.shape[0],
            "small": max(pixels.shape[:2]) <= SMALL,
            "clean": self._address("clean", order, pixels),
            "outline": outline,
        }

    def item(self, interpreter: str, order: int) -> dict[str, Any]:
        """Describe one image as one interpreter reads it under the attack."""
        part = self.account.part
        row = self._row("attack", order)
        image_id, reached = row["image_id"], bool(self._column("attack", interpreter, "success")[order])
        changed = bool(self._column("attack", interpreter, "untargeted_success")[order])
        joint = bool(part.joint("attack", interpreter)[order])
        values: dict[str, Values] = {role: part.map(role, interpreter, image_id) for role in self.titles}
        wanted = part.wanted(interpreter, image_id)
        if wanted is not None:
            values["wanted"] = wanted
        clean, pixels = self._pixels("clean", order), self._pixels("attack", order)
        expected = values["clean"] if wanted is None else wanted
        drawn = thumbnail(pixels, [(clean, expected), (pixels, values["attack"])])
        reader = part.interpreters.index(interpreter)
        distances = {
            role: part.distances(interpreter, role) for role in self.titles if role != "clean" or not part.keeps
        }
        return {
            "target": part.class_name(row["target"]),
            "became": part.becomes(row | {"success": reached, "untargeted_success": changed}),
            "verdict": "joint" if joint else "class" if reached else "failed",
            "before": _rounded(self._column("clean", interpreter, "confidence")[order], 3),
            "after": _rounded(self._column("attack", interpreter, "confidence")[order], 3),
            "distance": _rounded(distances["attack"][order]),
            "limit": _rounded(part.limits[interpreter].values[order]),
            "scores": self._scores(image_id),
            "distances": {role: _rounded(found[order]) for role, found in distances.items()},
            "thumb": self.pictures.add(self._name(order, f"t{self.number}x{reader}"), *drawn),
            "adversarial": self._address("attack", order, pixels),
            "control": self._address("control", order) if part.has("control") else "",
            "maps": {role: self._map(role, reader, order, found) for role, found in values.items()},
        }

    @cached_property
    def _detected(self) -> Detected | None:
        return Detected.of(self.account.run.path)

    def _scores(self, image_id: str) -> list[str]:
        """Say for each detector what it finds of one attacked image."""
        held = self._detected
        found = () if held is None else held.scores.get((self.account.part.labels["attack"], image_id), ())
        return [
            f"{plain(each.detector)}: {'noticed' if each.flagged else 'not noticed'}, score {each.score:.4g}"
            for each in found
        ]

    def _map(self, role: str, reader: int, order: int, values: Values) -> str:
        # The attack's own maps have its number in their name; those of controls are written once for all attacks.
        owner = self.number if role in ("attack", "wanted") else self._cell_number(role)
        interpreter = self.account.run.interpreters.index(self.account.part.interpreters[reader])
        return self.pictures.add(self._name(order, f"{role}{owner}x{interpreter}"), *map_picture(values))

    def _cell_number(self, role: str) -> int:
        return list(self.account.part.files.cells).index(self.account.part.labels[role])

    def _name(self, order: int, what: str) -> str:
        return f"{self.run_number}-{order:06d}-{what}"

    def _address(self, role: str, order: int, pixels: Pixels | None = None) -> str:
        part = self.account.part
        path = part.files.path / self._row(role, order)["image_file"]
        pixels = self._pixels(role, order) if pixels is None else pixels
        return self.pictures.of_run(path, self._name(order, f"image{self._cell_number(role)}"), pixels)

    def _pixels(self, role: str, order: int) -> Pixels:
        return self.account.part.image(self._row(role, order))

    def _column(self, role: str, interpreter: str, measure: str) -> Any:
        return self.account.part.column(role, interpreter, measure)

    def _row(self, role: str, order: int) -> Row:
        """Return names and files of one image; all rows of a cell are read at once."""
        part = self.account.part
        if role not in self._rows:
            table = self.account.run.rows(COLUMNS, part.labels[role])
            self._rows[role] = {row["image_id"]: row for row in table.to_pylist()}
        return self._rows[role][part.image_ids[order]]


def _rounded(value: Any, digits: int = 4) -> float | None:
    """Round a number for JSON; None for NaN and infinity."""
    number = float(value)
    return round(number, digits) if np.isfinite(number) else None
