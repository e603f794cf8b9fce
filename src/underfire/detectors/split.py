"""Splits: the images that a detector is fitted on, calibrated on or tested on, with the ids of their sources."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from underfire import randomness
from underfire.classifiers import Classifier, check_images
from underfire.errors import InputError
from underfire.text import first_few, plain

HASH = "[0-9a-f]{16}"
"""The form of the hash of an image's pixels; see ``pixels_of``."""


class Identity(NamedTuple):
    """The id of an image, the hash of its pixels and that of its file, as ``Members`` holds them; empty if unknown."""

    image_id: str
    pixels: str
    content: str


@dataclass(frozen=True)
class Members:
    """The identities of the images of a split.

    Args:
        ids: the id of each image. An attacked image has the id of the clean image that it was made from.
        pixels: a hash of the pixels of each clean image, as 16 hexadecimal digits; empty if they are not known.
        contents: a hash of what is stored of each image, or of the clean image that an attacked one was made from: see
            ``ImageData.content``. A text is empty if it is not known, and so is the tuple if that of no image is.
    """

    ids: tuple[str, ...] = ()
    pixels: tuple[str, ...] = ()
    contents: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[Identity]:
        for values in itertools.zip_longest(self.ids, self.pixels, self.contents, fillvalue=""):
            yield Identity(*values)

    def shared_with(self, other: Members) -> list[str]:
        """List the ids of images that are in both splits; see ``Known``."""
        known = Known(other)
        return sorted({each.image_id for each in self if each in known})

    def chosen(self, places: Sequence[int]) -> Members:
        """Return the identities of the images at some places."""
        held = [[each[place] for place in places] if each else [] for each in (self.ids, self.pixels, self.contents)]
        return Members(*map(tuple, held))

    def named_as(self, clean: Members) -> Members:
        """Return the identities with ids of clean images in the place of hashes of their pixels."""
        known = set(clean.ids)
        names = dict(zip(clean.pixels, clean.ids, strict=False))
        ids = tuple(one if one in known else names.get(one, one) for one in self.ids)
        return dataclasses.replace(self, ids=ids)

    @classmethod
    def of_clean(
        cls, batches: Iterable[Tensor], classifier: Classifier, ids: Sequence[str], contents: Sequence[str] = ()
    ) -> Members:
        """Identify clean images batch by batch, so that never more than one batch of them is held.

        Args:
            batches: of images, as in ``Split.of``.
            classifier: the classifier that takes them.
            ids: N ids, in the order of the images of all batches; looked at after the last batch.
            contents: N hashes of what is stored, in the same way; none if they are not known.
        """
        pixels = [pixels_of(check_images(images, classifier).cpu()) for images in batches]
        return cls(tuple(ids), tuple(itertools.chain.from_iterable(pixels)), tuple(contents))

    def to_dict(self) -> dict[str, list[str]]:
        """Return the identities as JSON values."""
        return {"ids": list(self.ids), "pixels": list(self.pixels), "contents": list(self.contents)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Members:
        """Make the identities from JSON values. Earlier versions wrote no contents."""
        return cls(tuple(values["ids"]), tuple(values["pixels"]), tuple(values.get("contents", ())))


class Known:
    """Images that others are compared with.

    An image is one of them if its pixels, or what is stored of it, are the same. If not, ids decide, because one file
    may be prepared in several ways: images of one id are different only if both contents are known, and differ.

    Ids and pixels are compared with each other, too: an image without a name has the hash of its pixels as its id.

    Args:
        members: the first ones.
    """

    def __init__(self, *members: Members) -> None:
        self._marks: set[str] = set()
        self._contents: dict[str, set[str]] = {}
        for each in itertools.chain.from_iterable(members):
            self.add(each)

    def add(self, image: Identity) -> None:
        """Add an image."""
        self._marks |= {image.pixels, image.content} - {""}
        self._contents.setdefault(image.image_id, set()).add(image.content)

    def __contains__(self, image: Identity) -> bool:
        if not self._marks.isdisjoint(image) or (image.pixels and image.pixels in self._contents):
            return True
        return not all(_differ(image.content, each) for each in self._contents.get(image.image_id, ()))


def _differ(first: str, second: str) -> bool:
    """Return True if two contents are known to be different: hashes of the same kind, with other digits."""
    kind, sign, _ = first.partition(":")
    return bool(sign) and second.startswith(f"{kind}:") and first != second


@dataclass(frozen=True)
class Split:
    """Images with the identities of their sources.

    Args:
        images: float32 N x C x H x W in [0, 1], multiples of 1/255, on the CPU.
        members: their identities, N.
    """

    images: Tensor
    members: Members

    def __len__(self) -> int:
        return len(self.images)

    def chosen(self, places: Sequence[int]) -> Split:
        """Return the images at some places."""
        return Split(self.images[list(places)], self.members.chosen(places))

    def named_as(self, clean: Split) -> Split:
        """Return the same attacked images with the ids that their sources have among ``clean``."""
        return dataclasses.replace(self, members=self.members.named_as(clean.members))

    @classmethod
    def of(
        cls,
        images: Tensor,
        classifier: Classifier,
        ids: Sequence[str] | None = None,
        *,
        clean: bool = True,
        name: str = "images",
        contents: Sequence[str] = (),
    ) -> Split:
        """Make a split of images.

        Args:
            images: N x C x H x W in [0, 1], or uint8. They are rounded to 8 bits.
            classifier: the classifier that takes them.
            ids: N ids; if None, the hash of an image's pixels is its id.
            clean: True if the images are not attacked: then they are known by their pixels, too.
            name: the name of the argument, for messages.
            contents: N hashes of what is stored, see ``ImageData.content``, of the clean images that these are, or were
                made from; none if they are not known.

        Raises:
            InputError: the images cannot be used; there is not one id, or content, for each image; an id stands for two
                clean images; or ids are missing for attacked images.
        """
        images = check_images(images, classifier, name).cpu()
        if isinstance(ids, str) or not isinstance(ids, Iterable | None):
            raise InputError(f"ids of {name} is {ids!r:.80}; expected None, or one id per image.")
        if ids is None and not clean:
            raise InputError(f"ids of {name} are missing; expected the id of the clean image of each attacked image.")
        hashes = pixels_of(images)
        known = hashes if ids is None else tuple(map(str, ids))
        if len(known) != len(images):
            raise InputError(f"ids of {name} has {len(known)} entries; expected {len(images)}, one per image.")
        if contents and len(contents) != len(images):
            raise InputError(f"contents of {name} has {len(contents)} entries; expected {len(images)}, or none.")
        stored = list(itertools.zip_longest(known, contents, fillvalue=""))
        if clean and len(set(stored)) < len(stored):
            twice = next(each[0] for place, each in enumerate(stored) if each in stored[:place])
            raise InputError(
                f"{name} holds the id {plain(twice)!r} twice; expected different images: an image that counts twice "
                "makes a detector look more certain than it is."
            )
        return cls(images, Members(known, hashes if clean else (), tuple(contents)))


def check_sources(attacked: Members, benign: Members, unnamed: Sequence[str]) -> None:
    """Raise InputError if the source of an attacked image may be among clean images, and cannot be found there.

    Args:
        attacked: attacked images, with the ids of their sources.
        benign: the clean images that a detector learns from.
        unnamed: the arguments with images whose ids were not given: they are known by their pixels alone.
    """
    known = {*benign.ids, *benign.pixels}
    lost = next((one for one in attacked.ids if one not in known and not re.fullmatch(HASH, one)), None)
    if unnamed and lost is not None:
        raise InputError(
            f"attacked_ids holds {plain(lost)!r}, and {' and '.join(unnamed)} images have no ids, so that it cannot be "
            f"told if it was made from one of them. Give {' and '.join(f'{each}_ids' for each in unnamed)}; or as "
            "attacked_ids the hashes of the clean images, Split.of(clean, classifier).members.ids."
        )


def pixels_of(images: Tensor) -> tuple[str, ...]:
    """Hash the pixels of each image as 16 hexadecimal digits."""
    return tuple(f"{number % 2**64:016x}" for number in randomness.identify(images).tolist())


def check_apart(first: Members, second: Members, first_name: str, second_name: str, remedy: str = "") -> None:
    """Raise InputError if two splits share images.

    Args:
        first_name, second_name: what the splits are, for the message, such as ``the calibration images``.
        remedy: a sentence that says what to do, at the end of the message.
    """
    shared = first.shared_with(second)
    if shared:
        some = first_few([plain(each) for each in shared])
        raise InputError(
            f"{len(shared)} of {first_name} are among {second_name}, too: {some}. Expected different images: a "
            "detector is calibrated on images that it was not fitted on, and tested on images that it has never seen."
            f"{remedy and ' '}{remedy}"
        )
