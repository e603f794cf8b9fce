"""Honest maps of images, as files and as one picture: what an analyst would see, without any attack."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from underfire import randomness
from underfire.classifiers import Classifier, check_images
from underfire.data import Batch, ImageData, Record
from underfire.errors import DataError, InputError, UnderfireWarning, unknown_name
from underfire.reports.explained import ExplainedFolder
from underfire.reports.pictures import Pixels, colour, fitted, overlay
from underfire.reports.sheet import UNIT_GAP, Band, Text, Unit, sheet
from underfire.reports.single import NO_LABEL
from underfire.runs.selection import logits_of
from underfire.system import System
from underfire.text import plain

BATCH = 32
ON_SHEET = 48
SIDE, WIDTH = 128, 1000


@dataclass(frozen=True)
class Explained:
    """What was said about one image. ``confidence`` is the probability of the predicted class, in [0, 1];
    ``explained`` the class that the maps were read for; ``image`` and ``overlays`` are files in the folder."""

    image_id: str
    path: str
    label: int | None
    predicted: int
    confidence: float
    explained: int
    image: str
    overlays: dict[str, str]


def explain(
    data: ImageData,
    system: System,
    folder: Path,
    *,
    count: int | None = 16,
    wanted: str = "predicted",
    overwrite: bool = False,
    on_batch: Callable[[int, int], None] | None = None,
) -> list[Explained]:
    """Read the maps of the first ``count`` readable images (all if None), and save them.

    It does not matter whether the images are classified correctly.

    Writes ``maps.safetensors`` (keys ``interpreter/image_id``, float32 h x w in [0, 1]), ``maps.json`` (one entry per
    image), ``images/`` (as the classifier sees them), ``overlays/`` and ``maps.png``, a sheet of the first images.

    Args:
        wanted: the class to explain: ``predicted``, ``label``, a class name or a class number.
        overwrite: replace what an earlier call wrote into the folder.
        on_batch: called with the images that are done, and their number.

    Raises:
        InputError: ``wanted`` cannot be, or ``count`` is less than 1.
        DataError: no image can be read.
        InterpreterError: an interpreter does not work with this classifier.
        StoreError: the folder holds something else, or cannot be written.
    """
    if count is not None and count < 1:
        raise InputError(f"count is {count}; expected at least 1 image.")
    if wanted == "label" and len(data) and data.record(0).label == NO_LABEL:
        raise InputError(f"class is 'label', but {data.name!r} has no label: give 'predicted', or a class.")
    store = ExplainedFolder(folder, overwrite)
    total = min(count or len(data), len(data))
    found: list[Explained] = []
    units: list[Unit] = []
    unreadable: list[tuple[str, str]] = []
    end = 0
    while len(found) < total and end < len(data):  # again for as many as could not be read
        indices = range(end, min(end + total - len(found), len(data)))
        end = indices.stop
        for batch in _batches(data, system.classifier, indices):
            unreadable += batch.unreadable
            if batch.records:
                for record, image, maps, said in _read(system, batch.records, batch.images, wanted):
                    entry, unit = _note(store, system, len(found), record, image, maps, said)
                    found.append(entry)
                    if len(units) < ON_SHEET:
                        units.append(unit)
            if on_batch is not None:
                on_batch(len(found), total)
    if not found:
        reasons = "; ".join(why for _, why in unreadable[:3])
        raise DataError(f"none of the {len(unreadable)} images of {data.name!r} can be read: {reasons}")
    if unreadable:
        named = "; ".join(why for _, why in unreadable[:3]) + (" ..." if unreadable[3:] else "")
        warnings.warn(
            f"{len(unreadable)} of the images of {data.name!r} cannot be read and are left out: {named}",
            UnderfireWarning,
            stacklevel=2,
        )
    names = system.classifier.class_names
    store.finish(
        {
            "data": data.name,
            "classifier": system.classifier.name,
            "interpreters": {name: part.identity(system.classifier) for name, part in system.interpreters.items()},
            "class": wanted,
            "class_names": None if names is None else list(names),
            "images": [asdict(entry) for entry in found],
            "unreadable": [{"path": path, "why": why} for path, why in unreadable],
        },
        sheet(_sheet(data, system, units, len(found))),
    )
    return found


def _batches(data: ImageData, classifier: Classifier, indices: range) -> Iterator[Batch]:
    if classifier.image_size is not None:
        yield from data.batches(classifier.image_size, classifier.channels, BATCH, indices, classifier.resizing)
        return
    for index in indices:  # one by one: images that keep their own size need not share one
        yield data.load(None, classifier.channels, [index])


@dataclass(frozen=True)
class _Said:
    predicted: int
    confidence: float
    explained: int


def _read(
    system: System, records: list[Record], images: Tensor, wanted: str
) -> Iterator[tuple[Record, Tensor, dict[str, Tensor], _Said]]:
    images = check_images(images, system.classifier)
    logits = logits_of(system.classifier, images)
    labels = torch.tensor([record.label for record in records])
    classes = classes_to_explain(wanted, logits, labels, system.classifier.class_names)
    ids = randomness.identify(images, [record.image_id for record in records])  # as in a run: the same maps
    maps = system.maps(images, classes, ids)
    confidence, predicted = logits.softmax(1).max(1)
    for row, record in enumerate(records):
        said = _Said(int(predicted[row]), float(confidence[row]), int(classes[row]))
        yield record, images[row], {name: value[row].cpu() for name, value in maps.items()}, said


def classes_to_explain(wanted: str, logits: Tensor, labels: Tensor, names: tuple[str, ...] | None) -> Tensor:
    """The class that each map is read for: int64 N.

    Args:
        wanted: ``predicted``, ``label``, a class name or a class number.
        logits: N x K.
        labels: int64 N.
        names: the classifier's class names.

    Raises:
        InputError: an unknown class, or a label that the classifier does not have.
    """
    count = logits.shape[1]
    if wanted == "predicted":
        return logits.argmax(1)
    if wanted == "label":
        if int(labels.max()) >= count:
            raise InputError(
                f"class is 'label', and the data has label {int(labels.max())}; the classifier has classes "
                f"0..{count - 1}."
            )
        return labels.to(logits.device)
    known = tuple(names or ())[:count]
    if wanted in known:
        number = known.index(wanted)
    elif wanted.isdecimal():
        number = int(wanted)
        if number >= count:
            raise InputError(f"class is {wanted}; the classifier has classes 0..{count - 1}.")
    else:
        shown = known if len(known) <= 20 else tuple(difflib.get_close_matches(wanted, known, n=3))
        error = unknown_name("class", wanted, ("predicted", "label", *shown))
        raise InputError(f"{error} Or a class number, 0..{count - 1}.")
    return torch.full((len(logits),), number, dtype=torch.int64, device=logits.device)


def _note(
    store: ExplainedFolder,
    system: System,
    place: int,
    record: Record,
    image: Tensor,
    maps: dict[str, Tensor],
    said: _Said,
) -> tuple[Explained, Unit]:
    """Write one image and its maps; returns its entry, and its part of the sheet."""
    levels = (image.cpu() * 255).round().to(torch.uint8).numpy()
    pixels: Pixels = levels[0] if len(levels) == 1 else np.ascontiguousarray(levels.transpose(1, 2, 0))
    # Small images are enlarged before the map is laid over them, which is then smooth.
    whole = colour(pixels) if max(pixels.shape[:2]) > SIDE else fitted(colour(pixels), SIDE)
    heats = {name: overlay(whole, value.numpy()) for name, value in maps.items()}
    file = store.save_picture("images", place, record.image_id, pixels)
    overlays = {name: store.save_overlay(name, place, record.image_id, heat) for name, heat in heats.items()}
    store.add_maps(record.image_id, maps)
    label = None if record.label == NO_LABEL else record.label
    entry = Explained(
        record.image_id, record.path, label, said.predicted, said.confidence, said.explained, file, overlays
    )
    caption = f"{_name(system, said.predicted)}: {100 * said.confidence:.0f} %"
    if label is not None and label != said.predicted:
        caption += f" (label: {_name(system, label)})"
    if said.explained != said.predicted:
        caption += f", maps for {_name(system, said.explained)}"
    shown = tuple(fitted(picture, SIDE) for picture in (whole, *heats.values()))
    return entry, Unit(shown, caption=caption)


def _name(system: System, number: int) -> str:
    names = system.classifier.class_names
    return plain(names[number]) if names and number < len(names) else f"class {number}"


def _sheet(data: ImageData, system: System, units: list[Unit], total: int) -> list[Text | Band]:
    parts: list[Text | Band] = [
        Text(f"{system.classifier.name} on {data.name}", 20),
        Text(
            ("" if total <= len(units) else f"The first {len(units)} of {total} images. ")
            + "Under each image: the predicted class and its probability. Yellow marks what matters most.",
            tone="muted",
        ),
    ]
    each = max((WIDTH + UNIT_GAP) // (max(unit.width for unit in units) + UNIT_GAP), 1)
    heads = ("", *system.interpreters)
    units = [replace(unit, heads=heads) if place < each else unit for place, unit in enumerate(units)]
    parts += [Band(tuple(units[start : start + each])) for start in range(0, len(units), each)]
    return parts
