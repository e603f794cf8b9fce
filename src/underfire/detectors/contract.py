"""The contract of detectors: what one has to say, and a detector that is fitted, calibrated and ready to score."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

from torch import Tensor

from underfire.attacks.measure import Measure
from underfire.attacks.terms import Point, Score, ScoreOfMaps
from underfire.classifiers import check_images
from underfire.detectors.asked import Asked
from underfire.detectors.description import at_own_threshold, terms_of
from underfire.detectors.folder import packed, plain_settings, write_folder
from underfire.detectors.measuring import as_measure, measured
from underfire.detectors.split import Members, Split, check_apart
from underfire.detectors.target import Target
from underfire.detectors.threshold import likely_rates
from underfire.errors import InputError
from underfire.files import path_of
from underfire.runs.identity import code_of
from underfire.system import System
from underfire.user_parts import Part, guarded

State = dict[str, Tensor]
"""Everything that a detector has learnt, as tensors by name."""


@dataclass(frozen=True)
class Detector(Part, ABC):
    """A detector of attacked images: its settings, which never change. A subclass is a frozen dataclass.

    Fields are numbers, texts, or tuples of them, because a fitted detector writes them into a JSON file.

    Attributes:
        name: the name in tables and files.
        least_interpreters, most_interpreters: how many interpreters it reads; None for any number. 0 and 0 for a
            detector that reads only logits.
        learns: True if it learns from benign images. The calibration images are other ones.
        needs_attacked: True if it learns from attacked images, too.
        attacker: the attack on the detector's own loss, in words: what an evaluation has to try.
    """

    name: ClassVar[str]
    least_interpreters: ClassVar[int] = 0
    most_interpreters: ClassVar[int | None] = 0
    learns: ClassVar[bool] = False
    needs_attacked: ClassVar[bool] = False
    attacker: ClassVar[str] = (
        "--evade with the folder of this detector; where its score has no gradient, with the attack square, or a loss "
        "term that lowers the score of a differentiable surrogate"
    )

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        """Make the detector from the text after the colon of its name, as in ``squeezing:bit-depth:3``.

        Raises:
            InputError: this detector takes no such text.
        """
        raise InputError(f"detector is '{cls.name}:{argument}'; {cls.name} takes nothing after a colon.")

    def learn(self, system: System, benign: Split, attacked: Split | None) -> State:
        """Learn from images. A detector that learns nothing inherits this method.

        Args:
            system: the classifier and the interpreters that the detector reads.
            benign: clean images.
            attacked: attacked images; None if ``needs_attacked`` is False.

        Returns:
            Everything that ``measure`` needs, as tensors.
        """
        return {}

    @abstractmethod
    def measure(self, system: System, state: State, images: Tensor) -> Tensor:
        """Compute the scores N of images N x C x H x W in [0, 1]: finite, and higher for more suspicious images.

        The score of an image must depend on no other image. Images and state are on the CPU; ``system`` takes images
        to the device of its classifier, and brings logits and maps back.
        """

    def knows(self, attack: str, threshold: float) -> bool:
        """Return True if an attack is adaptive against this detector though it names no fitted one.

        Terms of a fitted detector, and of a surrogate of it, are found by ``FittedDetector.knows``. A detector inherits
        this method unless its settings say all about it, as those of feature squeezing do.

        Args:
            attack: the attack's description in ``run.json``, which lists its loss terms and rules.
            threshold: the detector's own. An attack that keeps scores below a higher one does not evade the detector.
        """
        return False

    def differentiable(self, system: System, state: State) -> Callable[[Point], Tensor]:
        """Return a function that computes the scores N at a point of an attack, with a gradient in the images.

        Raises:
            InputError: this detector has none; the message says what to try.
        """
        raise InputError(
            f"detector {self.title} has no differentiable score. "
            + (
                "Take an attack without gradients (square), which asks the detector itself: evade=fitted.term("
                "gradient=False), or on the command line --attack square --evade FOLDER. Or evade a surrogate: "
                "evade=uf.detectors.surrogate(fitted, images, calibration).term(), or --term FILE.py:NAME with a file "
                "that makes this term."
                if self.reads_maps
                else f"Try {self.attacker}."
            )
        )

    @property
    def title(self) -> str:
        """The name with the settings that matter, for tables."""
        return self.name

    @property
    def reads_maps(self) -> bool:
        """True if the detector reads maps of interpreters."""
        return self.most_interpreters != 0


@dataclass(frozen=True, eq=False, repr=False)
class FittedDetector:
    """A detector that is fitted for one system, with a calibrated threshold.

    Args:
        detector: the settings.
        system: the classifier, and the interpreters that the detector reads.
        state: what it has learnt.
        threshold: images with a higher score count as attacked.
        false_positives: the share of benign images that may count as attacked, for which the threshold was chosen.
        target: what it was fitted for.
        members: the identities of the images it has seen: ``benign``, ``attacked`` and ``calibration``.
        calibration: the scores of the calibration images, float64.
        source: how its classifier and interpreters are opened, as JSON values, for the command line.
        spec: the text that names the detector, for ``load``.
        folder: the name of the folder that it was read from; empty if it was not.
        label: its name among other detectors; empty for that of ``detector``.
    """

    detector: Detector
    system: System
    state: State
    threshold: float
    false_positives: float
    target: Target
    members: Mapping[str, Members]
    calibration: Tensor
    source: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    spec: str = ""
    folder: str = ""
    label: str = ""

    @property
    def name(self) -> str:
        """The detector's name with the settings that matter."""
        return self.label or self.detector.title

    def scores(self, images: Tensor) -> Tensor:
        """Compute the scores of images: float64 N on the CPU, higher = more suspicious.

        Args:
            images: N x C x H x W in [0, 1], or uint8; rounded to 8 bits, as they would be saved.

        Raises:
            InputError: the images have another shape than those that the detector was fitted for.
            UserCodeError: a detector of the user's own fails, or gives no finite score per image.
        """
        images = check_images(images, self.system.classifier).cpu()
        self.target.check_shape(images.shape[1:], self.name)
        return measured(self.detector, self.system, self.state, images)

    @cached_property
    def _differentiable(self) -> Callable[[Point], Tensor]:
        score = guarded(self.detector, "detector").differentiable(self.system, self.state)
        return guarded(score, "score of detector", self.detector.name)

    def score(self, point: Point) -> Tensor:
        """Compute the scores N at a point of an attack, differentiable in the images: what the term ``Score`` reads.

        Raises:
            InputError: the detector has no differentiable score, or the attack reads no maps of its interpreters.
            UserCodeError: a detector of the user's own fails.
        """
        missing = [name for name in self.system.interpreters if name not in point.reading.maps]
        if missing:
            raise InputError(
                f"detector {self.name} reads the maps of {', '.join(missing)}, and the attack does not: attack all "
                "interpreters of the detector."
            )
        return self._differentiable(point)

    def term(self, margin: float = 0.0, *, gradient: bool = True) -> Score:
        """Return the loss term of an attack that evades the detector: ``uf.attack(..., evade=fitted.term())``.

        Args:
            margin: how far below the threshold scores are pushed, at least 0.
            gradient: False for an attack that takes no gradient (``square``). The term then asks the detector itself,
                so that any detector will do, and it need not read the maps that the attack is about.

        Raises:
            InputError: the detector has no differentiable score; the message says what to try.
        """
        if not gradient:
            return Score(Asked(self.scores, repr(self)), self.threshold, margin)
        _ = self._differentiable
        kind = ScoreOfMaps if self.detector.reads_maps else Score
        return kind(self, self.threshold, margin)

    @cached_property
    def digest(self) -> str:
        """16 hexadecimal digits that tell fitted detectors apart: a hash of all that scores and threshold need."""
        held = {
            "settings": plain_settings(self.detector),
            "detector": self.spec or self.detector.name,
            "code": self.code(),
            "threshold": self.threshold,
            "target": {name: value for name, value in self.target.to_dict().items() if name != "classifier"},
            "state": hashlib.sha256(packed(self.state)).hexdigest(),
        }
        return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()[:16]

    def knows(self, attack: str) -> bool:
        """Return True if an attack is adaptive against this very detector: one of its loss terms lowers the score.

        These are the terms ``Score`` and ``ScoreOfMaps`` of this fitted detector or of a surrogate of it, with its own
        threshold or a lower one, and those that ``Detector.knows`` names. A detector of the same kind that was fitted
        on other images is another one. ``attack`` is the attack's description in ``run.json``; see ``Detector.knows``.

        Raises:
            UserCodeError: ``Detector.knows`` of a detector of the user's own fails.
        """
        evaded = terms_of(attack, "Score", "ScoreOfMaps")
        known = any(self.digest in term and at_own_threshold(term) for term in evaded)
        return known or bool(guarded(self.detector, "detector").knows(attack, self.threshold))

    def flags(self, images: Tensor) -> Tensor:
        """Return True for images that count as attacked, bool N: their score is above the threshold."""
        return self.scores(images) > self.threshold

    def check_unseen(self, members: Members, what: str, remedy: str = "") -> None:
        """Raise InputError if the detector has seen one of these images when it was fitted or calibrated.

        The message has ``what``, which says what the images are, and ``remedy``, a sentence that says what to do.
        """
        for role, seen in self.members.items():
            check_apart(seen, members, f"the {role} images of detector {self.name}", what, remedy)

    def measure(self) -> Measure:
        """Return the score as a measure of attacks: ``uf.attack(..., measures=[fitted.measure()])``."""
        return as_measure(self.name, self.threshold, self.scores)

    @property
    def likely_false_positives(self) -> tuple[float, float]:
        """The range that the true rate of false alarms is in, for 95 % of all calibrations; see ``likely_rates``."""
        return likely_rates(len(self.calibration), self.false_positives)

    def code(self) -> dict[str, str]:
        """Hash the user's files that the detector's name and settings stand for; see ``code_of``."""
        return code_of({"detector": self.spec, **plain_settings(self.detector)})

    def record(self) -> dict[str, Any]:
        """Return everything but the tensors as JSON values."""
        return {
            "detector": self.spec or self.detector.name,
            "settings": plain_settings(self.detector),
            "code_sha256": self.code(),
            "threshold": self.threshold,
            "false_positives": self.false_positives,
            "likely_false_positives": list(self.likely_false_positives),
            "target": self.target.to_dict(),
            "members": {role: members.to_dict() for role, members in self.members.items()},
            "source": dict(self.source),
        }

    def save(self, folder: Path | str) -> None:
        """Write the detector as a folder: ``detector.json`` and ``detector.safetensors``.

        Raises:
            StoreError: the folder cannot be written, or holds something else.
        """
        write_folder(path_of("folder", folder), self.record(), {**self.state, "calibration_scores": self.calibration})

    def __repr__(self) -> str:
        return (
            f"FittedDetector({self.name!r}, classifier={self.target.classifier!r}, threshold={self.threshold:.4g}, "
            f"false_positives={self.false_positives:g}, digest={self.digest!r})"
        )
