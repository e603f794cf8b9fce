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
from underfire.data.prepare import check_format, prepare
from underfire.data.resizing import DEFAULT_RESIZING, Resizing
from underfire.errors import DataError, InputError, UnreadableImageError


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
    """A finite, ordered set of labelled images. Records are cheap; ``read`` decodes an image.

    Attributes:
        name: a short name for tables.
        class_names: one name per class; a label is a position in this tuple.
    """

    name: str
    class_names: tuple[str, ...]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def record(self, index: int) -> Record:
        """Return the record at ``index``. Raises ``IndexError`` outside of 0 .. len - 1."""

    @abstractmethod
    def read(self, index: int) -> Image.Image:
        """Return the decoded image. Raises ``UnreadableImageError`` if it cannot be decoded."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a SHA-256 over the content of the data set, by which a run records its data."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {len(self)} images, {len(self.class_names)} classes)"

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
            channels: 1 or 3.
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
                    image = prepare(self.read(index), size, channels, resizing)
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
