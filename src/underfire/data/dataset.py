"""The base class of all data sets: records (id, path, label), and pixels that are read when they are needed."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor

from underfire.arguments import check_at_least
from underfire.data.pixels import Picture, bits_of, highest, is_deep
from underfire.data.prepare import check_format, prepare
from underfire.data.resizing import DEFAULT_RESIZING, Resizing
from underfire.data.sampling import evenly_spaced
from underfire.errors import DataError, InputError, UnreadableImageError, warn
from underfire.text import counted

_LOOKED_AT = 32
"""Images that are looked at to find the value of white of a data set."""


@dataclass(frozen=True)
class Record:
    """An image that need not be read yet: a stable id, its path or another origin, and its label."""

    image_id: str
    path: str
    label: int


@dataclass
class Batch:
    """Prepared images with their records, and a list of images that could not be read.

    Attributes:
        records: one per image, in the order of the images.
        images: float32 N x C x H x W in [0, 1], multiples of 1/255; N may be 0 if no image could be read.
        unreadable: (path, reason) of each image that was left out.
    """

    records: list[Record]
    images: Tensor
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    @property
    def labels(self) -> Tensor:
        """The labels: int64 N."""
        return torch.tensor([record.label for record in self.records], dtype=torch.int64)

    @property
    def ids(self) -> list[str]:
        """The ids of the images."""
        return [record.image_id for record in self.records]


class ImageData(ABC):
    """A finite, ordered set of labelled images. Records are cheap (unless labels are predicted); ``read`` decodes one.

    Attributes:
        name: a short name for tables.
        class_names: one name per class; a label is a position in this tuple.
        layout: the layout of the files in a few words, such as "HAM10000 metadata"; empty if there is none.
        white: the value of white in images with more than 8 bits; None if nobody has said it yet (see
            ``white_level``).
    """

    name: str
    class_names: tuple[str, ...]
    layout: str = ""
    white: float | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def record(self, index: int) -> Record:
        """Return the record at ``index``. Raises ``IndexError`` outside of 0 .. len - 1."""

    @abstractmethod
    def read(self, index: int) -> Picture:
        """Return the decoded image: Pillow's, or an array H x W x C if Pillow has no mode for it.

        Raises:
            UnreadableImageError: it cannot be decoded.
        """

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a SHA-256 over the content of the data set, by which a run records its data."""

    def content(self, index: int) -> str:
        """Return a hash of an image as it is stored, before anything prepares it; empty if its id alone tells it.

        It tells images of one id in two data sets apart, such as files of one name in two folders. It begins with what
        was hashed, ``file:`` or ``levels:``. Hashes of different things say nothing about each other.
        """
        self._checked(index)
        return ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self._counts[0]}, {self._counts[1]})"

    @property
    def _counts(self) -> tuple[str, str]:
        """The numbers of images and classes, in words."""
        return counted(len(self), "image"), counted(len(self.class_names), "class", "es")

    def describe(self) -> str:
        """Describe the data set in one line: layout, number of classes and images."""
        images, classes = self._counts
        return f"{self.layout or self.name}, {classes}, {images}"

    def used_labels(self) -> set[int]:
        """Return the labels that at least one image has."""
        return {self.record(index).label for index in range(len(self))}

    def white_level(self) -> float | None:
        """Return the value of white in images with 16 bits; None for 65535, the largest value.

        If ``white`` is not set, it is decided by the largest value of a few images over the whole data set: scanners
        often store 10, 12 or 14 bits in files of 16 bits, whose images would be nearly black. Warns, if it is so.
        """
        if self.white is None:
            # Where 16-bit images are rare, the few may have none of them.
            peak = self._peak(evenly_spaced(len(self), _LOOKED_AT)) or self._peak(range(len(self)))
            bits = bits_of(peak)
            self.white = float(2**bits - 1) if peak > 0 else 65535.0
            if self.white < 65535:
                warn(
                    f"the 16-bit images of {self.name!r} have values up to {peak:g} only: they are taken for {bits} "
                    f"bits with white at {self.white:g}. If white is another value, say so with --white (65535 for "
                    "16 bits)."
                )
        return self.white

    def _peak(self, indices: Iterable[int]) -> float:
        """Return the largest value of the first 16-bit images at ``indices``; 0 if there are none."""
        peaks: list[float] = []
        for index in indices:
            try:
                picture = self.read(index)
            except UnreadableImageError:
                continue
            peaks += [highest(picture)] if is_deep(picture) else []
            if len(peaks) == _LOOKED_AT:
                break
        return max(peaks, default=0.0)

    def prepared(
        self, index: int, size: tuple[int, int] | None, channels: int, resizing: Resizing = DEFAULT_RESIZING
    ) -> Tensor:
        """Read and prepare one image; see ``prepare``. Raises ``UnreadableImageError`` if it cannot be used."""
        picture = self.read(index)
        white = self.white_level() if is_deep(picture) else self.white
        return prepare(picture, size, channels, resizing, white=white)

    def batches(
        self,
        size: tuple[int, int] | None,
        channels: int,
        batch_size: int,
        indices: Iterable[int] | None = None,
        resizing: Resizing = DEFAULT_RESIZING,
    ) -> Iterator[Batch]:
        """Yield prepared batches in order. Unreadable images are left out and named in ``Batch.unreadable``.

        Args:
            size: height and width of the prepared images; None keeps the sizes of the images.
            channels: 1 (grey), 3 (RGB), or the number of bands.
            batch_size: images per batch. The last batch may be smaller, and so may a batch with unreadable images.
            indices: the images to read, in this order; if None, all images.
            resizing: the method of resizing to ``size``.

        Raises:
            InputError: an argument is out of range. Raised by the call itself, before the first batch.
            DataError: ``size`` is None, and the images have different sizes.
        """
        check_format(size, channels)
        check_at_least("batch_size", batch_size, 1)
        chosen = self._chosen(indices)
        for index in chosen:
            if not 0 <= index < len(self):
                raise InputError(
                    f"indices hold {index}; expected 0 to {len(self) - 1}, because {self.name!r} has {len(self)} "
                    "images."
                )
        return self._batches(size, channels, batch_size, chosen, resizing)

    def _batches(
        self,
        size: tuple[int, int] | None,
        channels: int,
        batch_size: int,
        chosen: Sequence[int],
        resizing: Resizing,
    ) -> Iterator[Batch]:
        first: tuple[str, torch.Size] | None = None
        for begin in range(0, len(chosen), batch_size):
            records, images, unreadable = [], [], []
            for index in chosen[begin : begin + batch_size]:
                record = self.record(index)
                try:
                    image = self.prepared(index, size, channels, resizing)
                except UnreadableImageError as error:
                    unreadable.append((record.path, str(error)))
                    continue
                first = first or (record.path, image.shape)
                if image.shape != first[1]:
                    raise DataError(
                        f"the images of {self.name!r} have different sizes, and no size was given: {first[0]} is "
                        f"{_measures(first[1])}, {record.path} is {_measures(image.shape)}. Give the classifier a "
                        "size: --image-size 224, or Classifier(..., image_size=224)."
                    )
                records.append(record)
                images.append(image)
            stacked = torch.stack(images).float().div_(255) if images else torch.empty(0, channels, *(size or (0, 0)))
            yield Batch(records, stacked, unreadable)

    def load(
        self,
        size: tuple[int, int] | None = None,
        channels: int = 3,
        indices: Iterable[int] | None = None,
        resizing: Resizing = DEFAULT_RESIZING,
    ) -> Batch:
        """Read all images, or the images at ``indices``, as one batch. Arguments and errors as in ``batches``."""
        chosen = self._chosen(indices)
        batches = self.batches(size, channels, max(len(chosen), 1), chosen, resizing)
        return next(batches, Batch([], torch.empty(0, channels, *(size or (0, 0)))))

    def mask(self, index: int) -> Tensor | None:
        """Return the object's true mask, bool H x W, of the upright image; None if the mask is not known.

        Data sets with masks override this method.
        """
        self._checked(index)
        return None

    def masks(
        self,
        size: tuple[int, int] | None = None,
        indices: Iterable[int] | None = None,
        resizing: Resizing = DEFAULT_RESIZING,
    ) -> Tensor | None:
        """Return the true masks of several images, resized and cropped like the images that ``load`` gives.

        Args:
            size: as in ``load``.
            indices: the images, one mask each. ``load`` leaves unreadable images out; leave their indices out here.
            resizing: as in ``load``.

        Returns:
            bool N x H x W, True if the object covers at least half of the pixel. None if any of the masks is not known.

        Raises:
            InputError: an argument is out of range.
            DataError: ``size`` is None, and the masks have different sizes.
        """
        check_format(size, 1)
        prepared: list[Tensor] = []
        for index in self._chosen(indices):
            mask = self.mask(index)
            if mask is None:
                return None
            picture = Image.fromarray(mask.to(torch.uint8).mul(255).numpy())
            prepared.append(prepare(picture, size, 1, resizing)[0] >= 128)
        if len({mask.shape for mask in prepared}) > 1:
            raise DataError(f"the masks of {self.name!r} have different sizes; expected a size to resize them to.")
        return torch.stack(prepared) if prepared else torch.empty(0, *(size or (0, 0)), dtype=torch.bool)

    def _chosen(self, indices: Iterable[int] | None) -> Sequence[int]:
        """Return the indices as integers; all if None. Raises InputError if they are not integers."""
        if indices is None:
            return range(len(self))
        try:
            return [operator.index(index) for index in indices]
        except TypeError as error:
            raise InputError(
                f"indices is {indices!r:.60}; expected whole numbers, such as range(16) or [3]."
            ) from error

    def _checked(self, index: int) -> int:
        # No negative indices: with -1, an image would have two ids.
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is not in 0 .. {len(self) - 1}, the images of {self.name!r}.")
        return index


def _measures(shape: torch.Size) -> str:
    return f"{shape[1]} x {shape[2]} (height x width)"
