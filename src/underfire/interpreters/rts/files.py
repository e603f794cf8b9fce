"""Masker files: weights, with a note about the classifier that they belong to.

A masker that is untrained or belongs to another classifier is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch

from underfire.checkpoints import read_weights, write_weights
from underfire.classifiers import Classifier, load
from underfire.classifiers.sources import names
from underfire.errors import InputError, InterpreterError
from underfire.interpreters.rts.network import Masker, Shape
from underfire.zoo.recipes import WEIGHTS

PREFIX = "rts-"
AID_PREFIX = "rts-aid-"
"""The beginning of the names of maskers that were trained by AID. No classifier takes one unless it is named."""


@dataclass(frozen=True)
class Note:
    """The note in a masker file: its classifier, its encoder, and its training.

    Args:
        classifier: name of the classifier.
        classifier_sha256: ``Classifier.sha256()``, over weights, normalisation and features.
        encoder: the name by which ``classifiers.load`` finds the encoder; empty if the encoder is the classifier.
        encoder_sha256: the same hash of the encoder.
        image_size: height and width of the training images.
        shape: channels and classes of the masker.
        confidence: the evidence that a place must show.
        selector_steps, decoder_steps: steps of its training.
        selector: ``trained`` or ``head``; see ``MaskerRecipe``.
    """

    classifier: str
    classifier_sha256: str
    encoder: str
    encoder_sha256: str
    image_size: tuple[int, int]
    shape: Shape
    confidence: float
    selector_steps: int
    decoder_steps: int
    selector: str = "trained"

    @property
    def shared(self) -> bool:
        """True if the encoder is the classifier."""
        return self.encoder_sha256 == self.classifier_sha256

    def to_json(self) -> str:
        """Write the note as JSON."""
        return json.dumps({"underfire": "rts", **asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read a note from JSON. Raises ValueError, KeyError or TypeError if ``text`` is anything else."""
        values: dict[str, Any] = json.loads(text)
        if values.pop("underfire") != "rts":
            raise ValueError("the note is of another kind of file")
        shape = values.pop("shape")
        shape["skips"] = tuple(shape["skips"])
        values["image_size"] = tuple(values["image_size"])
        return cls(shape=Shape(**shape), **values)


@dataclass(frozen=True)
class Opened:
    """An open masker.

    Args:
        file: its file; None for a live masker.
        masker: the network.
        note: the note in its file; None for a live masker.
        encoder: its encoder; None if that is the classifier.
    """

    file: Path | None
    masker: Masker
    note: Note | None
    encoder: Classifier | None

    @property
    def live(self) -> bool:
        """True if the masker is the user's own network, which may be in training."""
        return self.note is None

    @property
    def confidence(self) -> float:
        """The evidence that a place must show: the value in the masker's file; 0 for a live masker, as in training."""
        return 0.0 if self.note is None else self.note.confidence

    def check_device(self, device: torch.device) -> None:
        """Raise InterpreterError if the masker is a live one on another device than the images."""
        own = self.masker.selector.weight.device
        if self.live and own != device:
            raise InterpreterError(f"the masker is on {own}, and the images are on {device}: move it, masker.to(...).")

    def check_size(self, size: tuple[int, int]) -> None:
        """Raise InterpreterError if ``size`` is not the height and width of the training images."""
        if self.note is not None and size != tuple(self.note.image_size):
            raise InterpreterError(
                f"masker {self.file} was trained on images of {self.note.image_size[0]} x {self.note.image_size[1]}, "
                f"and these are {size[0]} x {size[1]}: give images of that size, or train a masker for these."
            )


def write(masker: Masker, note: Note, file: Path) -> None:
    """Write the masker as safetensors, with the note in its header."""
    write_weights(masker, file, note.to_json())


def read_note(file: Path) -> Note:
    """Read the note of a masker file. Raises InterpreterError if it is no masker file, or the masker is untrained."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, "pt") as opened:
            note = Note.from_json((opened.metadata() or {})["made_by"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise InterpreterError(
            f"masker {file} is no masker that 'underfire train rts' wrote ({type(error).__name__}: {error}); expected "
            "a file rts-NAME.safetensors, or a folder with one."
        ) from error
    if note.decoder_steps < 1 or (note.selector_steps < 1 and note.selector != "head"):
        raise InterpreterError(
            f"masker {file} is untrained ({note.selector_steps} selector and {note.decoder_steps} decoder steps): its "
            "maps mean nothing. Train it: underfire train rts."
        )
    return note


def shipped() -> Iterator[Path]:
    """List the plain masker files that ship with the package, without those of a defense."""
    yield from (file for file in sorted(WEIGHTS.glob(f"{PREFIX}*.safetensors")) if AID_PREFIX not in file.name)


def defended() -> list[str]:
    """List the names of the maskers of a defense that ship with the package."""
    return sorted(file.stem for file in WEIGHTS.glob(f"{AID_PREFIX}*.safetensors"))


def find(masker: str | None, classifier_sha256: str, name: str = "") -> tuple[Path, Note]:
    """Find the masker file for a classifier.

    Args:
        masker: a file, a folder with one masker, or the name of a file that ships, such as
            ``rts-aid-cifar10-resnet20``; if None, the plain masker that ships for this classifier.
        classifier_sha256: ``Classifier.sha256()`` of the classifier.
        name: its name, for messages.

    Raises:
        InputError: the file does not exist, or the folder does not hold exactly one masker.
        InterpreterError: the file is no masker, is untrained, or was made for another classifier; or none ships.
    """
    if masker is None:
        for file in shipped():
            note = read_note(file)
            if note.classifier_sha256 == classifier_sha256:
                return file, note
        known = ", ".join(sorted(read_note(file).classifier for file in shipped())) or "no classifier"
        spec = name if name in names() else "..."
        raise InterpreterError(
            f"RTS needs a masker that was trained for the classifier{f' {name}' if name else ''}, and none ships with "
            f"underfire (there are maskers for {known}). Train one: underfire train rts --classifier {spec} --data ... "
            "--out FOLDER (with --selector head for few images per class); then give it: RTS(masker='FOLDER'), or "
            "--interpreter rts:FOLDER."
        )
    file = _file(Path(masker).expanduser())
    note = read_note(file)
    if note.classifier_sha256 != classifier_sha256:
        raise InterpreterError(
            f"masker {file} belongs to another classifier: to {note.classifier!r}, whose weights, normalisation "
            f"and features have the SHA-256 {note.classifier_sha256[:12]}...; those of this classifier have "
            f"{classifier_sha256[:12]}.... Are its mean, std and features given as in training? "
            "Else train one for it: underfire train rts."
        )
    return file, note


def open_masker(masker: str | None, encoder: str | None, classifier_sha256: str, name: str = "") -> Opened:
    """Open the masker for a classifier, and its encoder.

    Args:
        masker, classifier_sha256, name: see ``find``.
        encoder: the name of the encoder, as ``classifiers.load`` takes it; the name in the masker file if None.

    Raises:
        InputError, InterpreterError: see ``find``; also if the file is damaged, or the encoder is not the one that the
            masker was trained with.
    """
    file, note = find(masker, classifier_sha256, name)
    network = Masker(note.shape)
    state = read_weights(file)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise InterpreterError(f"masker {file} is damaged: {error}") from error
    network.eval().requires_grad_(False)
    if note.shared and encoder is not None:
        raise InputError(
            f"encoder is {encoder!r}, and masker {file} reads the features of the classifier itself: leave it out."
        )
    return Opened(file, network, note, None if note.shared else _encoder(file, note, encoder))


def _encoder(file: Path, note: Note, given: str | None) -> Classifier:
    spec = given or note.encoder
    if given is None and ".py:" in spec and spec not in names():
        # A file of weights must not choose the code that is run: the user names it.
        raise InterpreterError(
            f"masker {file} was trained with the features of {spec!r}, which is code of yours: name it yourself, "
            f"RTS(masker=..., encoder={spec!r})."
        )
    encoder = load(spec)
    found = encoder.sha256()
    if found != note.encoder_sha256:
        raise InterpreterError(
            f"masker {file} was trained with an encoder of the SHA-256 {note.encoder_sha256[:12]}...; "
            f"that of {spec!r} is {found[:12]}...: give the encoder that it was trained with, or train it again."
        )
    return encoder


def _file(path: Path) -> Path:
    if not path.exists():
        named = WEIGHTS / f"{path}.safetensors"
        if len(path.parts) == 1 and path.name.startswith(PREFIX) and named.exists():
            return named
        raise InputError(f"masker is {str(path)!r}, which does not exist; expected a file of 'underfire train rts'.")
    if not path.is_dir():
        return path
    found = sorted(path.glob(f"{PREFIX}*.safetensors"))
    if len(found) != 1:
        raise InputError(f"masker is the folder {str(path)!r}, which holds {len(found)} maskers; expected one.")
    return found[0]
