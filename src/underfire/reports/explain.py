"""Maps of images without any attack, as an analyst would see them: as files, and as one picture."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from underfire import randomness
from underfire.classifiers import Classifier, check_images
from underfire.data import Batch, ImageData, Record
from underfire.data.saved import visible
from underfire.data.unlabelled import NO_LABEL
from underfire.drawing.pictures import Pixels, colour, fitted, overlay
from underfire.drawing.sheet import UNIT_GAP, Band, Text, Unit, sheet
from underfire.errors import DataError, InputError, unknown_name, warn
from underfire.reports.explained import ExplainedFolder
from underfire.runs.identity import identities
from underfire.runs.selection import logits_of
from underfire.settings import few_images
from underfire.system import System
from underfire.text import no_image, plain

BATCH = 32
ON_SHEET = 48
"""The largest number of images on the sheet."""
SIDE, WIDTH = 128, 1000
"""The size of a picture on the sheet, and the width of the sheet, in pixels."""


@dataclass(frozen=True)
class Explained:
    """One explained image.

    Args:
        image_id: the image's id.
        path: the image's file.
        label: its class in the data; None if the data have no labels.
        predicted: the class that the classifier predicts.
        confidence: the probability of the predicted class, in [0, 1].
        explained: the class that the maps explain.
        image: the picture of the image, as a path in the output folder.
        overlays: the pictures of the maps by interpreter, as paths in the output folder.
    """

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
    """Compute the maps of the first images, classified correctly or not, and save them in a folder.

    Writes ``maps.safetensors`` (keys ``interpreter/image_id``, float32 h x w in [0, 1]), ``maps.json`` (one entry per
    image), ``images/`` (as the classifier sees them), ``overlays/`` and ``maps.png``, a sheet of the first images.

    Args:
        data: the images.
        system: the classifier with its interpreters.
        folder: the folder to write; made if it does not exist.
        count: the number of images, at least 1; all if None. Images that cannot be read are replaced by the next ones.
        wanted: the class to explain: ``predicted``, ``label``, a class name or a class number.
        overwrite: replace the files of an earlier call in the folder.
        on_batch: called after each batch with the number of finished images and the number of all images.

    Returns:
        One entry per image, in the data's order.

    Raises:
        InputError: ``wanted`` is unknown to the classifier or the data, or ``count`` is less than 1.
        DataError: no image can be read.
        InterpreterError: an interpreter does not work with this classifier.
        StoreError: the folder is not empty and may not be replaced, or cannot be written.
    """
    if count is not None and count < 1:
        raise InputError(few_images(count))
    if wanted == "label" and len(data) and data.record(0).label == NO_LABEL:
        raise InputError(f"class is 'label', but {data.name!r} has no label: give 'predicted', or a class.")
    store = ExplainedFolder(folder, overwrite)
    total = min(count or len(data), len(data))
    found: list[Explained] = []
    units: list[Unit] = []
    unreadable: list[tuple[str, str]] = []
    end = 0
    while len(found) < total and end < len(data):  # more than once if some images cannot be read
        indices = range(end, min(end + total - len(found), len(data)))
        end = indices.stop
        for batch in _batches(data, system.classifier, indices):
            unreadable += batch.unreadable
            if batch.records:
                for record, image, maps, answer in _read(system, batch.records, batch.images, wanted):
                    entry, unit = _save(store, system, len(found), record, image, maps, answer)
                    found.append(entry)
                    if len(units) < ON_SHEET:
                        units.append(unit)
            if on_batch is not None:
                on_batch(len(found), total)
    reasons = "; ".join(why for _, why in unreadable[:3]) + (" ..." if unreadable[3:] else "")
    if not found:
        raise DataError(f"{no_image(len(unreadable), f' of {data.name!r}', 'can', 'be read')}: {reasons}")
    if unreadable:
        warn(f"{len(unreadable)} of the images of {data.name!r} cannot be read and are left out: {reasons}")
    names = system.classifier.class_names
    store.finish(
        {
            "data": data.name,
            "classifier": system.classifier.name,
            "interpreters": identities(system),
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
    for index in indices:  # one by one, because images that keep their own size may differ in size
        yield data.load(None, classifier.channels, [index])


@dataclass(frozen=True)
class _Answer:
    """The classifier's answer for one image; see ``Explained``."""

    predicted: int
    confidence: float
    explained: int


def _read(
    system: System, records: list[Record], images: Tensor, wanted: str
) -> Iterator[tuple[Record, Tensor, dict[str, Tensor], _Answer]]:
    """Yield each image of a batch with its record, its maps h x w by interpreter, and the classifier's answer."""
    images = check_images(images, system.classifier)
    logits = logits_of(system.classifier, images)
    labels = torch.tensor([record.label for record in records])
    classes = classes_to_explain(wanted, logits, labels, system.classifier.class_names)
    ids = randomness.identify(images, [record.image_id for record in records])  # as in a run, so that maps are equal
    maps = system.maps(images, classes, ids)
    confidence, predicted = logits.softmax(1).max(1)
    for row, record in enumerate(records):
        answer = _Answer(int(predicted[row]), float(confidence[row]), int(classes[row]))
        yield record, images[row], {name: value[row].cpu() for name, value in maps.items()}, answer


def classes_to_explain(wanted: str, logits: Tensor, labels: Tensor, names: tuple[str, ...] | None) -> Tensor:
    """Choose the class that each image's maps explain.

    Args:
        wanted: ``predicted``, ``label``, a class name or a class number.
        logits: N x K.
        labels: int64 N.
        names: the classifier's class names; None if it has none.

    Returns:
        Classes, int64 N, on the device of ``logits``.

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


def _save(
    store: ExplainedFolder,
    system: System,
    place: int,
    record: Record,
    image: Tensor,
    maps: dict[str, Tensor],
    answer: _Answer,
) -> tuple[Explained, Unit]:
    """Write one image and its maps. Return its entry, and its pictures for the sheet."""
    pixels: Pixels = visible((image.cpu() * 255).round().to(torch.uint8))
    # Enlarge small images before the map is laid over them, so that the map is smooth.
    whole = colour(pixels) if max(pixels.shape[:2]) > SIDE else fitted(colour(pixels), SIDE)
    heats = {name: overlay(whole, value.numpy()) for name, value in maps.items()}
    file = store.save_picture("images", place, record.image_id, pixels)
    overlays = {name: store.save_overlay(name, place, record.image_id, heat) for name, heat in heats.items()}
    store.add_maps(record.image_id, maps)
    label = None if record.label == NO_LABEL else record.label
    entry = Explained(record.image_id, record.path, label, **vars(answer), image=file, overlays=overlays)
    caption = f"{_name(system, answer.predicted)}: {100 * answer.confidence:.0f} %"
    if label is not None and label != answer.predicted:
        caption += f" (label: {_name(system, label)})"
    if answer.explained != answer.predicted:
        caption += f", maps for {_name(system, answer.explained)}"
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
