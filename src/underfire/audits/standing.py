"""The state of an audit at one radius, of one interpreter or of several at once: what was found on each image."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from underfire.attacks.benign import Benign
from underfire.attacks.limits import Flags, Numbers
from underfire.errors import InputError
from underfire.files import replacing

SMALLER = "smaller eps"
"""Stands in ``wrong_by`` and ``kept_by`` for a finding at a smaller radius, which lies in the larger ball, too."""

LONGEST = 150
"""The largest number of bytes of a label that is part of a file's name."""


@dataclass(frozen=True)
class Found:
    """Changed images, judged for one interpreter, or for several at once.

    Args:
        places: int64 M, the places of their clean images.
        images: M x C x H x W.
        classes: int64 M, the classes that their maps were read for.
        wrong: bool M, images of another class than their own.
        nearness: M numbers, how near the maps are to the clean ones; see ``Nearness``.
    """

    places: Tensor
    images: Tensor
    classes: Tensor
    wrong: Tensor
    nearness: Tensor


@dataclass
class Standing:
    """The findings on N images so far. Members of the ensemble are run one after the other, and added.

    Args:
        wrong: bool N, images for which another class was found.
        nearest: float64 N, the nearness of the image of another class whose maps are nearest; see ``Nearness``.
        gradients: int64 N, gradients taken so far.
        wrong_by, kept_by: the first members that found another class, and that with a kept map; empty if none. A search
            stands in ``wrong_by`` only while no member with gradients has found another class, too.
        images: N x C x H x W, the image of another class with the nearest map; at first the clean image.
        classes: int64 N, its class; -1 at first.
        nearest_by: the members that found these images; empty if there is none.
        done: the members that have run.
        tried: the images that a member which is not done has attacked already, bool N by its name. There may be several
            such members, because others go on after one that cannot.
    """

    wrong: Flags
    nearest: Numbers
    gradients: Numbers
    wrong_by: list[str]
    kept_by: list[str]
    images: Tensor
    classes: Tensor
    nearest_by: list[str]
    done: list[str] = field(default_factory=list)
    tried: dict[str, Flags] = field(default_factory=dict)

    @classmethod
    def begin(cls, benign: Benign) -> Standing:
        """Begin with nothing found on the clean images."""
        count = len(benign.images)
        return cls(
            np.zeros(count, dtype=bool),
            np.full(count, np.inf),
            np.zeros(count, dtype=np.int64),
            [""] * count,
            [""] * count,
            benign.images.cpu().clone(),
            torch.full((count,), -1),
            [""] * count,
        )

    def absorb(
        self,
        by: str,
        found: Found,
        limit: float,
        kept_by: Sequence[str] | None = None,
        wrong_by: Sequence[str] | None = None,
    ) -> None:
        """Add changed images.

        Args:
            by: where they come from: a member of the ensemble, a smaller radius, another interpreter.
            found: the images.
            limit: the nearness below which all maps are kept.
            kept_by: where each of them comes from, if its map is kept; ``by`` for all if None.
            wrong_by: what first found another class of each of their clean images; ``by`` for all if None.
        """
        for row, place in enumerate(found.places.tolist()):
            if not bool(found.wrong[row]):
                continue
            self.wrong[place] = True
            self.wrong_by[place] = self.wrong_by[place] or (by if wrong_by is None else wrong_by[row])
            near = float(found.nearness[row])
            finder = by if kept_by is None else kept_by[row]
            if near < limit:
                self.kept_by[place] = self.kept_by[place] or finder
            if near < self.nearest[place]:
                self.nearest[place], self.nearest_by[place] = near, finder
                self.images[place] = found.images[row].cpu()
                self.classes[place] = found.classes[row].cpu()

    def add(self, member: str, found: Found, limit: float, gradients: Numbers) -> None:
        """Add what a member of the ensemble found, and the gradients that it took for each of these images."""
        self.gradients[found.places.numpy()] += gradients
        self.absorb(member, found, limit)
        self.tried[member] = self.tried_by(member)
        self.tried[member][found.places.numpy()] = True

    def overrule(self, wrong_by: Sequence[str], found: Found, searches: Collection[str]) -> None:
        """Credit the class of images to members with gradients, where only a search had changed it, here or before.

        Args:
            wrong_by: what found another class of each of the clean images.
            found: the images.
            searches: the names of the members that see no gradient.
        """
        for row, place in enumerate(found.places.tolist()):
            by_search = (member_of(by) in searches for by in (self.wrong_by[place], wrong_by[row]))
            if bool(found.wrong[row]) and tuple(by_search) == (True, False):
                self.wrong_by[place] = wrong_by[row]

    def tried_by(self, member: str) -> Flags:
        """Return True for images that a member which is not done has attacked already, bool N."""
        return self.tried.get(member, np.zeros_like(self.wrong))

    def not_tried(self, member: str, places: Tensor) -> None:
        """Note that a member will attack some images again: if it is stopped before, they are still to be tried."""
        self.tried[member][places.numpy()] = False

    def finish(self, member: str) -> None:
        """Note that a member of the ensemble has attacked all images."""
        self.done.append(member)
        self.tried.pop(member, None)

    def finds(self, places: Flags) -> Found:
        """Return the images of another class with the nearest maps, of some of the places."""
        chosen = torch.from_numpy(np.flatnonzero(places & self.wrong))
        return Found(
            chosen,
            self.images[chosen],
            self.classes[chosen],
            torch.ones(len(chosen), dtype=torch.bool),
            torch.from_numpy(self.nearest)[chosen],
        )

    def inherit(self, smaller: Standing, found: Found, small_limit: float, limit: float) -> None:
        """Add what was found at a smaller radius, which lies in this ball, too.

        Another class is credited to the member that found it, at the smaller radius: ``auto, smaller eps``. A kept map
        is credited to that radius alone if it had been kept there, and to the member if it is kept here only.

        Args:
            smaller: the state at the smaller radius.
            found: the images of other classes that were found there, as they are judged here.
            small_limit, limit: the nearness below which all maps are kept, there and here.
        """
        places = found.places.tolist()
        kept_by = [
            SMALLER if smaller.nearest[place] < small_limit else _before(smaller.nearest_by[place]) for place in places
        ]
        self.absorb(SMALLER, found, limit, kept_by, [_before(smaller.wrong_by[place]) for place in places])

    def save(self, path: Path, benign: Benign, names: Sequence[str], made_by: Mapping[str, str]) -> None:
        """Write the state to a file of plain arrays, whole or not at all.

        Args:
            benign: the clean images, by whose logits and maps the state knows the classifier and the interpreter.
            names: the interpreters.
            made_by: the images and settings of the audit, in words.

        Raises:
            StoreError: the file cannot be written.
        """
        with replacing(path) as part, part.open("wb") as file:
            np.savez_compressed(
                file,
                wrong=self.wrong,
                nearest=self.nearest,
                gradients=self.gradients,
                wrong_by=np.array(self.wrong_by, dtype=np.str_),
                kept_by=np.array(self.kept_by, dtype=np.str_),
                images=(self.images * 255).round().to(torch.uint8).numpy(),
                classes=self.classes.numpy(),
                nearest_by=np.array(self.nearest_by, dtype=np.str_),
                done=np.array(self.done, dtype=np.str_),
                tried=np.array(list(self.tried.values()), dtype=bool),
                tried_by=np.array(list(self.tried), dtype=np.str_),
                logits=benign.logits.cpu().numpy(),
                maps=_signature(benign, names),
                made_by=np.array(json.dumps(dict(made_by)), dtype=np.str_),
            )

    @classmethod
    def load(cls, path: Path, benign: Benign, names: Sequence[str], made_by: Mapping[str, str]) -> Standing | None:
        """Read a state back; None if there is no file.

        Raises:
            InputError: the file is damaged, or belongs to other images, to another classifier, or to other settings.
        """
        if not path.exists():
            return None
        try:
            with np.load(path) as found:
                arrays = {name: found[name] for name in found.files}
            logits, maps, before = arrays["logits"], arrays["maps"], json.loads(str(arrays["made_by"]))
            images = torch.from_numpy(arrays["images"]).float() / 255
            state = cls(
                arrays["wrong"],
                arrays["nearest"],
                arrays["gradients"],
                [str(each) for each in arrays["wrong_by"]],
                [str(each) for each in arrays["kept_by"]],
                images,
                torch.from_numpy(arrays["classes"]),
                [str(each) for each in arrays["nearest_by"]],
                [str(each) for each in arrays["done"]],
                dict(zip(map(str, arrays["tried_by"]), arrays["tried"], strict=True)),
            )
        except (OSError, EOFError, KeyError, ValueError, BadZipFile, zlib.error) as error:
            raise InputError(
                f"{path} cannot be read ({error}): remove it, and its part of the audit is made again."
            ) from error
        for part, now in made_by.items():
            if before.get(part) != now:
                raise InputError(
                    f"{path} belongs to an audit with other {part} ({before.get(part)}; now {now}): did its count or "
                    "data change? Give another folder (out), or remove the file."
                )
        own = benign.logits.cpu().numpy()
        if logits.shape != own.shape or not np.allclose(logits, own, rtol=1e-3, atol=1e-3):
            raise InputError(f"{path} belongs to another classifier: give another folder (out), or remove it.")
        if not np.allclose(maps, _signature(benign, names), rtol=1e-3, atol=1e-4):
            raise InputError(
                f"{path} was made by another form of {' or '.join(names)}, whose maps of the clean images differ: was "
                "its code changed? Give another folder (out), or remove the file."
            )
        return state


def file_name(label: str) -> str:
    """Shorten a label that is too long for the name of a file: several interpreters of a user's files may be."""
    if len(label.encode()) <= LONGEST:
        return label
    return f"{label.encode()[:LONGEST].decode(errors='ignore')}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def member_of(by: str) -> str:
    """Return the member that is named in ``wrong_by`` or ``kept_by``: what comes before where it found an image."""
    return by.partition(", ")[0]


def elsewhere(by: str, label: str) -> str:
    """Return how a finding is credited where it was made by an attack on another interpreter."""
    return f"{member_of(by)}, attack on {label}"


def _before(by: str) -> str:
    """Return how a finding at a smaller radius is credited at a larger one."""
    return SMALLER if member_of(by) == SMALLER else f"{member_of(by)}, {SMALLER}"


def _signature(benign: Benign, names: Sequence[str]) -> Numbers:
    """Compute numbers by which the maps of each image are known again: their mean, mean square and slope, N x M."""
    columns = list[Tensor]()
    for name in names:
        flat = benign.maps[name].detach().cpu().double().flatten(1)
        ramp = torch.linspace(-1, 1, flat.shape[1], dtype=torch.float64)
        columns += [flat.mean(1), flat.square().mean(1), (flat * ramp).mean(1)]
    found: Numbers = torch.stack(columns, 1).numpy()
    return found
