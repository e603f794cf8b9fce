"""Detectors that an attack shall evade: from texts to loss terms."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from underfire import user_files
from underfire.attacks.schedule import Weighted
from underfire.attacks.terms import Evade, Evading
from underfire.classifiers import Classifier
from underfire.errors import InputError, StoreError
from underfire.transforms.squeezers import Squeezer, squeezer
from underfire.user_parts import shown

WEIGHTS: Mapping[str, float] = {"bit-depth": 40.0}
"""The published weights of squeezers by kind ([ADV2] section 4.5); all other kinds have ``WEIGHT``."""

WEIGHT = 12.0
"""The weight of squeezers that ``WEIGHTS`` does not name."""

RECORD = "detector.json"
"""The file of a fitted detector with its settings and its threshold."""

FITTED = "detector:"
"""The beginning of a part that stands for the folder of a fitted detector: ``detector:FOLDER``."""

FITTED_FOR = "fitted-for:"
"""The beginning of a part that says whose thresholds stand beside it: ``fitted-for:SHA256`` of the classifier."""

SQUEEZING = "squeezing"
"""The detector whose score is the largest of its squeezers', as its folder names it."""

FORM = "SQUEEZER<THRESHOLD, such as 'bit-depth:3<0.21', a squeezer alone, or the folder of a fitted detector"
"""One part of ``--evade``: a squeezer with its threshold, or the folder of a detector."""


def parse_evade(text: str) -> tuple[str, ...]:
    """Split a text such as ``bit-depth:3<0.21,median:2<0.4`` at its commas, and check the parts.

    The folder of a detector by squeezing is replaced by its squeezers and its threshold, so that what is known of an
    attack does not depend on a folder that may change. The part ``fitted-for:SHA256`` goes with them: the thresholds
    mean nothing on another classifier, see ``check_fitted_for``. Any other detector stays a folder,
    ``detector:FOLDER``: it has learnt tensors that no text can hold, and a run opens it and writes its hash down.

    Args:
        text: squeezers, each with ``<`` (or ``=``) and the threshold of the detector's score; without a threshold, the
            attack makes this score as low as possible. Or the folder that ``underfire detect fit`` wrote.

    Returns:
        The parts in their standard form: ``bit-depth:3<0.21``, ``fitted-for:SHA256``, or ``detector:FOLDER``.

    Raises:
        InputError: a part is no squeezer, its threshold is no number, or a folder has no detector.
    """
    if text.startswith(FITTED):
        return (text,)
    if (Path(text).expanduser() / RECORD).is_file():
        return _of_folder(text)
    parts = (part.strip() for part in text.split(","))
    return tuple(part if part.startswith(FITTED_FOR) else _written(*_split(part)) for part in parts)


def folder_of(part: Any) -> Path | None:
    """Return the folder of a part ``detector:FOLDER``; None for any other part."""
    if isinstance(part, str) and part.startswith(FITTED):
        return Path(part.removeprefix(FITTED)).expanduser()
    return None


def check_fitted_for(given: Any, classifier: Classifier) -> None:
    """Check that thresholds were fitted for the classifier that is attacked, where the texts say for which one.

    Args:
        given: what ``evading_terms`` takes.
        classifier: the one that is attacked.

    Raises:
        InputError: the thresholds belong to another classifier.
    """
    texts = [each for each in ([given] if isinstance(given, str) else given) if isinstance(each, str)]
    parts = [(text, part) for text in texts for part in parse_evade(text) if part.startswith(FITTED_FOR)]
    if not parts:
        return
    own = classifier.sha256()
    for text, part in parts:
        if (hashed := part.removeprefix(FITTED_FOR)) != own:
            raise InputError(
                f"evade is {text!r}, thresholds of a detector that was fitted for another classifier (SHA-256 "
                f"{hashed[:12]}...) than {classifier.name} ({own[:12]}...), which has other weights or another "
                "normalisation. Fit the detector for this classifier: thresholds of another one mean nothing here."
            )


def evading_terms(given: Any) -> tuple[Weighted, ...]:
    """Make the loss terms of an attack that evades detectors.

    Args:
        given: texts as ``parse_evade`` takes them, one or several; terms that evade a detector (``Evade``, ``Score``),
            with the weight 1; or ``Weighted`` objects.

    Returns:
        One ``Evade`` with all squeezers that are given as texts, with the published weights, and the other terms.

    Raises:
        InputError: a part is nothing that can be evaded, or the folder of a detector that has to be opened first.
    """
    several = isinstance(given, Iterable) and not isinstance(given, str)
    texts: list[str] = []
    made: list[Weighted] = []
    for each in given if several else [given]:
        if isinstance(each, str):
            texts += [part for part in parse_evade(each) if not part.startswith(FITTED_FOR)]
        elif isinstance(each, Evading):
            made.append(Weighted(each))
        elif isinstance(each, Weighted):
            made.append(each)
        else:
            raise InputError(f"evade holds {shown(each)}; expected {FORM}, or a term such as Evade(...).")
    if not texts:
        return tuple(made)
    for text in texts:
        if folder_of(text) is not None:
            raise InputError(
                f"evade is {text!r}, the folder of a fitted detector, which a single attack in Python does not open: "
                "load the detector with uf.detectors.load, and give evade=fitted.term()."
            )
    pairs = [_split(text) for text in texts]
    weights = tuple(WEIGHTS.get(each.name, WEIGHT) for each, _ in pairs)
    term = Evade(tuple(each for each, _ in pairs), tuple(threshold for _, threshold in pairs), weights)
    return (Weighted(term), *made)


def _split(part: str) -> tuple[Squeezer, float | None]:
    """Read ``SQUEEZER<THRESHOLD``, ``SQUEEZER=THRESHOLD`` or ``SQUEEZER``."""
    name, sign, number = part.rpartition("<" if "<" in part else "=")
    if not sign:
        return _known(part), None
    try:
        threshold = float(number)
    except ValueError as error:
        raise InputError(f"evade is {part!r}, and {number!r} is no number; expected {FORM}.") from error
    Evade((made := _known(name),), (threshold,))  # checks the threshold
    return made, threshold


def _known(name: str) -> Squeezer:
    if not name:
        raise InputError(f"evade is empty; expected {FORM}.")
    if os.path.isdir(os.path.expanduser(name)):
        raise InputError(f"evade is {name!r}, a folder without {RECORD}; expected {FORM}.")
    if name.endswith(".py") and os.path.isfile(os.path.expanduser(name)):
        raise InputError(f"evade is {name!r}, a file without a name in it; expected {name}:NAME, a squeezer of yours.")
    if os.sep in name and user_files.split(name) is None:
        raise InputError(f"evade is {name!r}, and there is no such folder; expected {FORM}.")
    return squeezer(name)


def _written(made: Squeezer, threshold: float | None) -> str:
    return made.label if threshold is None else f"{made.label}<{threshold!r}"


def _of_folder(text: str) -> tuple[str, ...]:
    """Read the squeezers and the threshold of a detector by squeezing, whose score is the largest of its squeezers'.

    Any other detector stays a folder.
    """
    folder = Path(text).expanduser()
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if record["detector"] != SQUEEZING:
            return (f"{FITTED}{text}",)
        names, threshold = list(record["settings"]["squeezers"]), record["threshold"]
        classifier = record["target"]["classifier_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{folder / RECORD} cannot be read: {error}. Fit the detector again.") from error
    return (*(_written(*_split(f"{each}<{threshold!r}")) for each in names), f"{FITTED_FOR}{classifier}")
