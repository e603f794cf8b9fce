"""RTS: maps in one forward pass, by a network that was trained to make maps (Dabkowski & Gal 2017)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire import user_files
from underfire.checkpoints import state_hash
from underfire.classifiers import Attackable, Classifier, Recorded, load
from underfire.classifiers.modes import evaluating
from underfire.errors import InputError
from underfire.interpreters.base import HonestMaps, Interpreter, State, View
from underfire.interpreters.rts.files import Opened, open_masker
from underfire.interpreters.rts.losses import presence_loss
from underfire.interpreters.rts.network import Masker
from underfire.numerics import to_channels_last
from underfire.user_parts import shown

ENCODER_WEIGHT = 0.1
"""The weight of the encoder's cross-entropy in the presence term, if the encoder is another network."""


@dataclass(frozen=True)
class RTS(Interpreter):
    """Real-time saliency: a masker reads an encoder's features and shows where a class is (Dabkowski & Gal 2017).

    The map is |a| / (|a| + |b| + 1e-8), where a and b are the masker's two output channels. It is not scaled: a map
    that is dark everywhere means that the class is not in the image.

    Args:
        masker: a file of ``underfire train rts``, or the folder with it; the one that ships for the classifier if None.
            It is refused if it is untrained, or belongs to another classifier. A live ``Masker`` is used as it is,
            without a copy: gradients flow into its parameters, and it may be in training.
        encoder: the name of the encoder, as ``classifiers.load`` takes it, instead of the one in the masker's file; its
            weights must be those that the masker was trained with.
        confidence: the evidence for the class that a place must show; the masker's own if None (0 for a live one).
    """

    name: ClassVar[str] = "rts"
    family: ClassVar[str] = "rts"

    masker: str | Masker | None = None
    encoder: str | None = None
    confidence: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.masker, Path):
            object.__setattr__(self, "masker", str(self.masker))

    @classmethod
    def from_argument(cls, argument: str) -> RTS:
        """Make RTS with a masker: its file, the folder with it, or ``file.py:function`` for code that returns one.

        Raises:
            InputError: the code returns something other than a ``Masker``, or does not exist.
            UserCodeError: the code raises an error.
        """
        own = user_files.split(argument)
        if own is None:
            return cls(argument)
        made = user_files.load(*own, "masker", call=True)
        if not isinstance(made, Masker):
            raise InputError(
                f"masker is {argument!r}, which returns {shown(made)}; expected a function without arguments that "
                "returns a Masker."
            )
        return cls(made)

    def open(self, classifier_sha256: str, name: str = "") -> Opened:
        """Open the masker for a classifier, and its encoder.

        Args:
            classifier_sha256: ``Classifier.sha256()`` of the classifier.
            name: its name, for messages.

        Raises:
            InputError, InterpreterError: there is none, or it cannot be used; see the messages.
        """
        if isinstance(self.masker, Masker):
            return Opened(None, self.masker, None, None if self.encoder is None else load(self.encoder))
        return open_masker(self.masker, self.encoder, classifier_sha256, name)

    def strictness(self, opened: Opened) -> float:
        """Return the confidence that is used: ``confidence``, or the masker's if that is None."""
        return opened.confidence if self.confidence is None else self.confidence

    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        return self.bound_to(classifier)(images, classes, ids)

    def bound_to(self, classifier: Classifier) -> HonestMaps:
        opened = self.open(classifier.sha256(), classifier.name)
        encoder = classifier if opened.encoder is None else opened.encoder
        encoder.module.to(classifier.device)
        masker = opened.masker if opened.live else opened.masker.to(classifier.device)
        opened.check_device(classifier.device)

        def read(images: Tensor, classes: Tensor, _ids: Tensor) -> Tensor:
            opened.check_size((images.shape[2], images.shape[3]))
            with torch.no_grad(), encoder.evaluating(), evaluating(masker):
                recorded = encoder.record(images, scales=True)
                scales = masker.scales_of(recorded, (images.shape[2], images.shape[3]))
                maps: Tensor = masker(scales, classes, self.strictness(opened))[0]
            return maps

        return read

    def identity(self, classifier: Classifier) -> str:
        opened = self.open(classifier.sha256(), classifier.name)
        weights = state_hash(opened.masker)
        encoder = self.encoder if opened.note is None else opened.note.encoder_sha256
        return f"RTS(confidence={self.strictness(opened)}) with a masker of SHA-256 {weights}, encoder {encoder}"

    def view(self) -> View:
        return _RTSView(self)


class _RTSView(View):
    """Runs the masker on the classifier's own forward pass if that is its encoder, else on a pass of the encoder.

    Nothing is smoothed: the map is a network's output, and has a gradient as the logits have one.
    """

    scales = True
    steps_alike = True

    def __init__(self, interpreter: RTS) -> None:
        self.interpreter = interpreter
        self._opened: Opened | None = None
        self._encoder: Attackable | None = None

    def begin(self, prepared: Attackable, images: Tensor, classes: Tensor, ids: Tensor) -> State:
        self._open(prepared, images)
        return {}

    def read(
        self, prepared: Attackable, recorded: Recorded, images: Tensor, classes: Tensor, state: State, graph: bool
    ) -> tuple[Tensor, State]:
        opened = self._open(prepared, images)
        if self._encoder is not None:
            recorded = self._encoder.record(images, scales=True)
            prepared.forwards += 1
            prepared.backwards += graph  # results count the passes of all networks
        scales = opened.masker.scales_of(recorded, (images.shape[2], images.shape[3]))
        with evaluating(opened.masker):
            maps, presence = opened.masker(scales, classes, self.interpreter.strictness(opened))
        if self._encoder is not None:
            term = ENCODER_WEIGHT * F.cross_entropy(recorded.logits, classes, reduction="none")
        else:  # the prediction term has the cross-entropy of these logits already
            term = presence_loss(presence, torch.ones_like(classes, dtype=torch.bool))
        return maps, state | {"presence": term}

    def terms(self, recorded: Recorded, classes: Tensor, state: State) -> dict[str, Tensor]:
        return {"presence": state["presence"]}

    def _open(self, prepared: Attackable, images: Tensor) -> Opened:
        """Open the masker and its encoder once: a copy on the images' device, in float64 if ``prepared`` is.

        A live masker is not copied.
        """
        if self._opened is None:
            opened = self.interpreter.open(prepared.sha256())
            precise = torch.float64 if prepared.dtype is torch.float64 else torch.float32
            opened.check_size((images.shape[2], images.shape[3]))
            opened.check_device(images.device)
            masker = opened.masker
            if not opened.live:
                masker = to_channels_last(copy.deepcopy(masker), device=images.device, dtype=precise)
            if opened.encoder is not None:
                self._encoder = opened.encoder.prepare(prepared.precision, size=images.shape[2:]).to(images.device)
            self._opened = Opened(opened.file, masker, opened.note, opened.encoder)
        return self._opened
