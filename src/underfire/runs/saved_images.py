"""The images that a run saved for one of its cells, as a data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cached_property

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from underfire.data import ImageData
from underfire.data.dataset import Record
from underfire.data.pixels import Picture
from underfire.data.resizing import DEFAULT_RESIZING, Resizing
from underfire.data.saved import load_png
from underfire.errors import StoreError
from underfire.runs.run import Run
from underfire.runs.selection import read_selection


class SavedImages(ImageData):
    """The judged 8-bit images of one attack or control of a run, of the images that were attacked.

    An image that already has the wanted size keeps its pixels exactly, whatever the method of resizing.

    Args:
        run: the run.
        cell: the label of the attack or control.

    Raises:
        StoreError: the run cannot be read.
    """

    def __init__(self, run: Run, cell: str) -> None:
        self.run = run
        self.name = f"{cell} of {run.path}"
        self.class_names = tuple(run.record.get("class_names") or ())
        table = run.rows(["position", "image_id", "path", "image_file", "label"], cell)
        entries = {entry["image_id"]: entry for entry in table.to_pylist()}
        self._entries = [entries[image_id] for image_id in run.image_ids]
        self.white = 255.0

    def __len__(self) -> int:
        return len(self._entries)

    def record(self, index: int) -> Record:
        entry = self._entries[self._checked(index)]
        return Record(entry["image_id"], entry["path"], entry["label"])

    def content(self, index: int) -> str:
        """Return the hash by which the run's data tell the image that this one was made from."""
        return self._contents.get(self._entries[self._checked(index)]["position"], "")

    @cached_property
    def _contents(self) -> dict[int, str]:
        """The hashes by position among the images that the run looked at; empty for runs of earlier versions."""
        selection = read_selection(self.run.path, self.run.record)
        return {} if selection is None else dict(enumerate(selection.contents))

    def levels(self, index: int) -> Tensor:
        """Read the saved image: uint8 C x H x W. Raises StoreError if the file cannot be read."""
        path = self.run.path / self._entries[self._checked(index)]["image_file"]
        try:
            return load_png(path)
        except OSError as error:
            raise StoreError(f"image {path} of the run cannot be read: {error}") from error

    def read(self, index: int) -> Picture:
        pixels = self.levels(index).numpy()
        if len(pixels) == 1:
            return Image.fromarray(pixels[0])
        bands = np.ascontiguousarray(pixels.transpose(1, 2, 0))
        return Image.fromarray(bands) if len(pixels) == 3 else bands

    def prepared(
        self, index: int, size: tuple[int, int] | None, channels: int, resizing: Resizing = DEFAULT_RESIZING
    ) -> Tensor:
        fits = size == tuple(self.levels(index).shape[1:])
        return super().prepared(index, size, channels, DEFAULT_RESIZING if fits else resizing)

    def mask(self, index: int) -> Tensor | None:
        found = self.run.mask(self._entries[self._checked(index)]["image_id"]) if self.run.has_masks else None
        return None if found is None else torch.from_numpy(found)

    def masks(
        self,
        size: tuple[int, int] | None = None,
        indices: Iterable[int] | None = None,
        resizing: Resizing = DEFAULT_RESIZING,
    ) -> Tensor | None:
        fits = size == tuple(self.levels(0).shape[1:])
        return super().masks(size, indices, DEFAULT_RESIZING if fits else resizing)

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for index, entry in enumerate(self._entries):
            levels = self.levels(index)
            digest.update(f"{entry['image_id']}\0{entry['label']}\0{tuple(levels.shape)}\0".encode())
            digest.update(levels.numpy().tobytes())
        return digest.hexdigest()
