"""A data set of images in a tensor."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from underfire.data.classes import label_problem, numbered
from underfire.data.dataset import ImageData, Record
from underfire.data.decode_arrays import MOST_BANDS
from underfire.data.pixels import Picture
from underfire.errors import InputError

_TOLERANCE = 1e-6


class TensorData(ImageData):
    """Images of a tensor, copied to the CPU as 8-bit pixels. The tensor itself is not changed.

    Args:
        images: N x C x H x W; uint8, or float in [0, 1] (rounded to the nearest 8-bit level). One channel is grey and
            three are RGB; others are bands, which are never converted.
        labels: N integers from 0.
        ids: N distinct names; if None, each image's ``pixel_id``, so equal images get equal ids.
        class_names: one name per class; if None, the numbers up to the largest label.
        name: a short name for tables.

    Raises:
        InputError: wrong shapes, types, lengths or ranges.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor | Sequence[int],
        ids: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        *,
        name: str = "tensor",
    ) -> None:
        self.name = name
        self._pixels = _eight_bit(images)
        count = len(self._pixels)
        self._labels = _checked_labels(labels, count, None if class_names is None else len(class_names))
        self._ids = [pixel_id(image) for image in self._pixels] if ids is None else _checked_ids(ids, count)
        self.class_names = numbered(self._labels) if class_names is None else tuple(class_names)

    def __len__(self) -> int:
        return len(self._pixels)

    def record(self, index: int) -> Record:
        image_id = self._ids[self._checked(index)]
        return Record(image_id, image_id, self._labels[index])

    def read(self, index: int) -> Picture:
        """Return the image: mode L for one channel, RGB for three, else an array H x W x C."""
        pixels = self._pixels[self._checked(index)]
        values = (pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0)).contiguous().numpy()
        return Image.fromarray(values) if len(pixels) in (1, 3) else values

    def fingerprint(self) -> str:
        described = repr((tuple(self._pixels.shape), self._labels, self._ids, self.class_names))
        digest = hashlib.sha256(described.encode("utf-8", "surrogatepass"))
        digest.update(self._pixels.numpy().tobytes())
        return digest.hexdigest()


def pixel_id(pixels: Tensor) -> str:
    """Compute an id from an image's pixels: 32 hexadecimal digits of a SHA-256 over shape and content.

    Args:
        pixels: uint8 C x H x W.
    """
    content = repr(tuple(pixels.shape)).encode() + pixels.detach().cpu().numpy().tobytes()
    return hashlib.sha256(content).hexdigest()[:32]


def _eight_bit(images: Tensor) -> Tensor:
    if not isinstance(images, Tensor):
        hint = ": use torch.from_numpy(images)" if isinstance(images, np.ndarray) else ""
        raise InputError(f"images are of type {type(images).__name__}; expected a torch.Tensor N x C x H x W{hint}.")
    shape = tuple(images.shape)
    if images.ndim != 4:
        raise InputError(f"images have shape {shape}; expected N x C x H x W, also for one image or one channel.")
    if 0 in shape:
        raise InputError(f"images have shape {shape}; expected at least one image of at least one pixel.")
    last = shape[3] < min(shape[1:3])
    if shape[1] not in (1, 3) and (last or shape[1] > MOST_BANDS):
        advice = (
            "the channels seem to be last: use images.permute(0, 3, 1, 2)" if last else f"at most {MOST_BANDS} work"
        )
        raise InputError(f"images have shape {shape}, so {shape[1]} channels; {advice}.")
    images = images.detach().cpu()
    if images.dtype == torch.uint8:
        return images.clone(memory_format=torch.contiguous_format)
    if not images.is_floating_point():
        raise InputError(f"images are of type {images.dtype}; expected torch.uint8, or floats in [0, 1].")
    if bool(images.isnan().any()):
        raise InputError("images hold NaN; expected pixels in [0, 1].")
    low, high = float(images.min()), float(images.max())
    if low < -_TOLERANCE or high > 1 + _TOLERANCE:
        # A usual normalisation that takes pixels above 10 also takes pixels below 0.
        levels = low >= 0 and 10 < high <= 255
        cause = "to be 8-bit levels: divide them by 255, or pass uint8" if levels else "already normalised"
        raise InputError(f"images range over [{low:.4g}, {high:.4g}]; expected pixels in [0, 1]. They look {cause}.")
    # Half precision cannot represent all products with 255.
    exact = images if images.dtype == torch.float64 else images.float()
    return (exact * 255).round().clamp(0, 255).to(torch.uint8).contiguous()


def _checked_labels(labels: Tensor | Sequence[int], count: int, class_count: int | None) -> list[int]:
    values = torch.as_tensor(labels)
    if values.ndim != 1:
        one_hot = "; for one-hot labels pass labels.argmax(1)" if values.ndim == 2 else ""
        raise InputError(f"labels have shape {tuple(values.shape)}; expected N integers{one_hot}.")
    if len(values) != count:
        raise InputError(f"there are {len(values)} labels for {count} images; expected one label per image.")
    if values.dtype == torch.bool or values.is_floating_point() or values.is_complex():
        raise InputError(f"labels are of type {values.dtype}; expected integers, such as torch.int64.")
    checked: list[int] = values.tolist()
    for index, label in enumerate(checked):
        if problem := label_problem(label, class_count):
            raise InputError(f"labels[{index}]: {problem}.")
    return checked


def _checked_ids(ids: Sequence[str], count: int) -> list[str]:
    if len(ids) != count:
        raise InputError(f"there are {len(ids)} ids for {count} images; expected one id per image.")
    seen: dict[str, int] = {}
    for index, image_id in enumerate(ids):
        if not isinstance(image_id, str):
            raise InputError(f"ids[{index}] is {image_id!r} of type {type(image_id).__name__}; expected a string.")
        if image_id in seen:
            raise InputError(f"ids[{seen[image_id]}] and ids[{index}] are both {image_id!r}; expected distinct ids.")
        seen[image_id] = index
    return list(ids)
