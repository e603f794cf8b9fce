"""What every source of images offers: records (id, path, label), and pixels on demand."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor

from underfire.data.prepare import check_format, prepare
from underfire.data.resizing import DEFAULT_RESIZING, Resizing
from underfire.errors import DataError, InputError, UnreadableImageError


@dataclass(frozen=True)
class Record:
    """One image before it is read: a stable id, where it comes from, and its class."""

    image_id: str
    path: str
    label: int


@dataclass
class Batch:
    """Prepared images, and those that could not be prepared.

    Attributes:
        records: one per image, in the images' order.
        images: float32 N x C x H x W in [0, 1] on the 8-bit grid; N may be 0 where nothing could be read.
        unreadable: (path, reason) of each image that was left out.
    """

    records: list[Record]
    images: Tensor
    unreadable: list[tuple[str, str]] = field(default_factory=list)

    @property
    def labels(self) -> Tensor:
        """int64 N."""
        return torch.tensor([record.label for record in self.records], dtype=torch.int64)

    @property
    def ids(self) -> list[str]:
        return [record.image_id for record in self.records]


class ImageData(ABC):
    """A finite, ordered set of labelled images. Reading a record is cheap; decoding happens in ``read``.

    Attributes:
        name: short, for tables.
        class_names: one per class; labels index it.
    """

    name: str
    class_names: tuple[str, ...]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def record(self, index: int) -> Record:
        """The record at ``index`` in 0 .. len - 1. Raises ``IndexError`` outside of that."""

    @abstractmethod
    def read(self, index: int) -> Image.Image:
        """The decoded image. Raises ``UnreadableImageError`` where it cannot be decoded."""

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 over what the set consists of, to tell in a run's record which data it saw."""

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
        """Prepared batches in order. Unreadable images are left out and named in ``Batch.unreadable``.

        Args:
            size: height and width to prepare to; None keeps the image's own.
            channels: 1 or 3.
            batch_size: images per batch; the last may be smaller, and each by its unreadable images.
            indices: which images, in which order; all where None.
            resizing: how images come to ``size``.

        Raises:
            InputError: an argument is out of range; raised by the call, not by the first batch.
            DataError: ``size`` is None, and the images are not all of one size.
        """
        check_format(size, channels)
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; expected at least 1.")
        chosen = self._chosen(indices)
        for index in chosen:
            if not 0 <= index < len(self):
                raise InputError(
                    f"indices hold {index}; expected 0 to {len(self) - 1}, since {self.name!r} has {len(self)} images."
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
                        f"the images of {self.name!r} have different sizes, and no size was given to prepare "
                        f"them to: {first[0]} is {_measures(first[1])}, {record.path} is "
                        f"{_measures(image.shape)}. Give the classifier one: --image-size 224, or "
                        "Classifier(..., image_size=224)."
                    )
                records.append(record)
                images.append(image)
            nothing = torch.empty(0, channels, *(size or (0, 0)), dtype=torch.uint8)
            stacked = torch.stack(images) if images else nothing
            yield Batch(records, stacked.float().div_(255), unreadable)

    def load(
        self,
        size: tuple[int, int] | None = None,
        channels: int = 3,
        indices: Iterable[int] | None = None,
        resizing: Resizing = DEFAULT_RESIZING,
    ) -> Batch:
        """All images (or those at ``indices``) as one batch; arguments and errors as in ``batches``."""
        chosen = self._chosen(indices)
        check_format(size, channels)
        nothing = Batch([], torch.empty(0, channels, *(size or (0, 0))))
        return next(self.batches(size, channels, max(len(chosen), 1), chosen, resizing), nothing)

    def mask(self, index: int) -> Tensor | None:
        """The object's true mask, where the source knows it: bool H x W, for the upright image that ``read`` gives.

        None here; sources that know it say so.
        """
        self._checked(index)
        return None

    def masks(
        self,
        size: tuple[int, int] | None = None,
        indices: Iterable[int] | None = None,
        resizing: Resizing = DEFAULT_RESIZING,
    ) -> Tensor | None:
        """The true masks of several images, resized and cropped as ``load`` does with the images themselves.

        Args:
            size: as in ``load``.
            indices: of images, one mask each: where some images cannot be read, give those of the others.
            resizing: as in ``load``.

        Returns:
            bool N x H x W: a pixel is the object's where it covers half of it or more. None where the source does
            not know the mask of each.

        Raises:
            InputError: an argument is out of range.
            DataError: ``size`` is None, and the masks are not all of one size.
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
            raise DataError(f"the masks of {self.name!r} have different sizes; expected a size to bring them to.")
        return torch.stack(prepared) if prepared else torch.empty(0, *(size or (0, 0)), dtype=torch.bool)

    def _chosen(self, indices: Iterable[int] | None) -> Sequence[int]:
        """The indices as numbers; all where None. Raises InputError where they are something else."""
        if indices is None:
            return range(len(self))
        try:
            return [operator.index(index) for index in indices]
        except TypeError as error:
            raise InputError(
                f"indices is {indices!r:.60}; expected whole numbers, such as range(16) or [3]."
            ) from error

    def _checked(self, index: int) -> int:
        # Negative ones too: -1 would give one image a second id.
        if not 0 <= index < len(self):
            raise IndexError(f"index {index} is not in 0 .. {len(self) - 1}, the images of {self.name!r}.")
        return index


def _measures(shape: torch.Size) -> str:
    return f"{shape[1]} x {shape[2]} (height x width)"
