"""Check a classifier and its data before an attack: all parts of the check, and the verdict."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from underfire.check.calls import gradient, repeats
from underfire.check.class_order import accuracy_interval, better_order, label_agreement
from underfire.check.explanations import explanation_lines
from underfire.check.line import CheckLine
from underfire.check.other_inputs import try_other_inputs, worth_trying
from underfire.check.trials import InterpreterTrial, try_interpreters
from underfire.classifiers import Classifier, said_beside
from underfire.data import Batch, ImageData
from underfire.data.sampling import evenly_spaced
from underfire.errors import ClassifierError, DataError, InputError, UnderfireWarning
from underfire.runs.inputs import PREDICTED, Inputs, InputSettings
from underfire.runs.selection import logits_of
from underfire.settings import few_images
from underfire.text import first_few


@dataclass(frozen=True)
class Check:
    """The result of a check.

    Args:
        classifier, data: as the user named them.
        lines: the results, in the order in which they are shown.
        trials: the trials of all interpreters; empty if a problem stopped the check before.
    """

    classifier: str
    data: str
    lines: list[CheckLine]
    trials: list[InterpreterTrial]

    @property
    def ready(self) -> bool:
        """True if an attack can run."""
        return not self._topics("problem") and any(trial.works for trial in self.trials)

    @property
    def verdict(self) -> str:
        """One line: ready, or the reason why not, and the lines that deserve a look."""
        problems, hints = self._topics("problem"), self._topics("hint")
        works = sum(trial.works for trial in self.trials)
        if problems:
            return f"not ready: see {', '.join(problems)}"
        if not works:
            return "not ready: no interpreter works with this classifier"
        see = f"; but see {', '.join(hints)}" if hints else ""
        return f"ready: {works} of {len(self.trials)} interpreters work{see}"

    def _topics(self, state: str) -> list[str]:
        return list(dict.fromkeys(line.topic for line in self.lines if line.state == state))

    def to_dict(self) -> dict[str, Any]:
        """Convert everything to values for JSON; the lines are called ``findings`` there."""
        return {
            "ready": self.ready,
            "verdict": self.verdict,
            "classifier": self.classifier,
            "data": self.data,
            "findings": [asdict(line) for line in self.lines],
            "interpreters": {trial.name: asdict(trial) for trial in self.trials},
        }


@torch.inference_mode(False)
def run_check(
    config: InputSettings,
    count: int,
    device: torch.device,
    progress: Callable[[str], None] | None = None,
    memory: int | None = None,
    interpreters: Sequence[str] = (),
) -> Check:
    """Check a classifier and its data.

    Args:
        config: the classifier, the data, and what the user says about them.
        count: the number of images to look at, spread over the data in pairs of neighbours.
        device: the device that the classifier is moved to.
        progress: called with a few words before each part of the check.
        memory: the largest number of bytes that the process shall have on the device.
        interpreters: names of the interpreters to try, also ``file.py:name``; all that are known if empty.

    Raises:
        InputError, DataError: the classifier or the data are not there, or an option is impossible. A fault of the
            classifier is no error, but a line of the result.
    """
    if count < 1:
        raise InputError(few_images(count))
    tell = progress or (lambda _words: None)
    lines: list[CheckLine] = []

    def result(*more: CheckLine, trials: Sequence[InterpreterTrial] = ()) -> Check:
        return Check(config.classifier, config.data, [*lines, *more], list(trials))

    try:
        tell("opening classifier and data")
        with _noted() as warned:
            inputs = config.open(device)
            tell("reading images")
            batch = _batch(inputs, count)
        tell("classifying images")
        logits = logits_of(inputs.classifier, batch.images)
    except ClassifierError as error:
        return result(CheckLine("output", "problem", str(error)))
    classifier, labels, classes = inputs.classifier, batch.labels, logits.shape[1]
    lines += [CheckLine("source", "hint", text) for text in warned]
    lines.append(_data(inputs.data, batch))
    lines += [CheckLine("weights", "good", text) for text in classifier.notes]
    lines.append(_preparation(classifier))
    if int(labels.max()) >= classes:
        text = f"labels go up to {int(labels.max())}; the classifier has classes 0..{classes - 1}."
        return result(CheckLine("class order", "problem", text))
    if config.labels == PREDICTED:
        text = "unknown, as are the order of the classes and the normalisation: this needs true labels"
        lines.append(CheckLine("accuracy", "hint", text))
    else:
        lines += [_accuracy(logits, labels), _class_order(logits.argmax(1), labels, classes, inputs)]
        tell("trying other inputs")
        lines.append(_other_inputs(classifier, batch, logits))
    tell("repeating images")
    lines.append(repeats(classifier, batch.images))
    tell("looking at gradients")
    lines.append(gradient(classifier, batch.images[:8]))
    if lines[-1].state == "problem":
        return result()
    parts, trials = try_interpreters(
        classifier,
        batch.images[:8],
        logits.argmax(1)[:8],
        lambda name: tell(f"trying {name}"),
        memory,
        _masks(inputs, batch),
        interpreters,
    )
    if parts is not None:
        where = f"features: {parts.features or 'none found'}; head: {parts.head or 'none found'}"
        if beside := said_beside(parts.beside):
            where = f"{where}; {beside}"
        lines.append(CheckLine("parts", "hint" if beside else "good", where, asdict(parts)))
    lines += explanation_lines(trials)
    return result(trials=trials)


def _masks(inputs: Inputs, batch: Batch) -> Tensor | None:
    """Read the true masks of the first eight images; None if they are not known."""
    data, classifier = inputs.data, inputs.classifier
    if classifier.image_size is None:
        return None
    lost = {path for path, _ in batch.unreadable}
    chosen = evenly_spaced(len(data), len(batch.records) + len(batch.unreadable))
    places = [place for place in chosen if data.record(place).path not in lost]
    return data.masks(classifier.image_size, places[:8], classifier.resizing)


@contextmanager
def _noted() -> Iterator[list[str]]:
    """Collect our own warnings of the block."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UnderfireWarning)
        yield texts
    texts += [str(warning.message) for warning in caught if issubclass(warning.category, UnderfireWarning)]


def _batch(inputs: Inputs, count: int) -> Batch:
    """Read ``count`` images. Raises DataError if none of them can be read."""
    classifier, data = inputs.classifier, inputs.data
    chosen = evenly_spaced(len(data), count)
    batch = data.load(classifier.image_size, classifier.channels, chosen, classifier.resizing)
    if not batch.records:
        said = f"no image can be read of the {len(chosen)} that were chosen from {data.name!r}"
        raise DataError(f"{said}: {batch.unreadable[0][1]}")
    return batch


def _data(data: ImageData, batch: Batch) -> CheckLine:
    """Name the layout of the data, and the images that cannot be read."""
    text, left = data.describe(), batch.unreadable
    details = {"layout": data.layout, "images": len(data), "unreadable": len(left)}
    if not left:
        return CheckLine("data", "good", text, details)
    total = len(left) + len(batch.records)
    return CheckLine("data", "hint", f"{text}; {len(left)} of {total} cannot be read: {left[0][1]}", details)


def _preparation(classifier: Classifier) -> CheckLine:
    how = classifier.preparation()
    size = "as they are" if how["image_size"] is None else " x ".join(map(str, how["image_size"]))
    resize = "" if how["resize"] is None else f", resized to {how['resize']} before the crop"
    normalised = "none" if how["mean"] is None else f"mean {_numbers(how['mean'])}, std {_numbers(how['std'])}"
    channels = "1 channel" if how["channels"] == 1 else f"{how['channels']} channels"
    text = f"images: {size}{resize}, {channels}; normalisation: {normalised}"
    return CheckLine("preparation", "good", text, how)


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values)


def _accuracy(logits: Tensor, labels: Tensor) -> CheckLine:
    from scipy.stats import binomtest

    right, count, classes = int((logits.argmax(1) == labels).sum()), len(labels), logits.shape[1]
    low, high = accuracy_interval(right, count)
    text = f"{100 * right / count:.1f} % [{100 * low:.0f}, {100 * high:.0f}] of {count} images, {classes} classes"
    details = {"right": right, "n": count, "accuracy": right / count, "low": low, "high": high, "classes": classes}
    if not right:
        return CheckLine("accuracy", "problem", f"{text}: nothing is right, so there is nothing to attack", details)
    if binomtest(right, count, 1 / classes, alternative="greater").pvalue > 0.01:
        return CheckLine("accuracy", "hint", f"{text}: near chance", details)
    return CheckLine("accuracy", "good", text, details)


def _class_order(predicted: Tensor, labels: Tensor, classes: int, inputs: Inputs) -> CheckLine:
    """Look for a mistake in the order of the classes: a well-known one, or any other that the predictions agree on."""
    names = inputs.classifier.class_names or ()
    better = better_order(predicted, labels, classes, names)
    if better is not None:
        text = f"{better.description}: {100 * better.accuracy:.0f} % would be right"
        return CheckLine("class order", "hint", text, {"fit": better.description, "accuracy": better.accuracy})
    agreement = label_agreement(predicted, labels)
    low, _ = accuracy_interval(round(agreement.share * agreement.count), agreement.count)
    _, bound = accuracy_interval(int((predicted == labels).sum()), len(labels))
    if agreement.count < 8 or agreement.share < 0.5 or low <= bound:
        details: dict[str, Any] = {"agreement": agreement.share}
        return CheckLine("class order", "good", "no other order of the classes fits better", details)
    if agreement.one_to_one:
        shown = [f"{_name(label, inputs.data)} -> {names[k] if names else k}" for label, k in agreement.pairs]
        text = (
            f"the class order differs: images of one label get the same class, and it is another one "
            f"({first_few(shown, 4)}). Say which class each label stands for with --class-map FILE."
        )
        return CheckLine("class order", "hint", text, {"agreement": agreement.share, "pairs": agreement.pairs})
    most, often = Counter(predicted.tolist()).most_common(1)[0]
    answer = f"class {most} ({names[most]})" if names and names[most] != str(most) else f"class {most}"
    text = (
        f"no order of the classes fits: it answers {answer} for {often} of {len(labels)} images. Untrained weights, "
        "the wrong normalisation, or other classes than those of the data?"
    )
    details = {"agreement": agreement.share, "class": most, "answered": often}
    return CheckLine("class order", "hint", text, details)


def _name(label: int, data: ImageData) -> str:
    return data.class_names[label] if label < len(data.class_names) else str(label)


def _other_inputs(classifier: Classifier, batch: Batch, logits: Tensor) -> CheckLine:
    images, labels = batch.images[:32], batch.labels[:32]
    right = logits[:32].argmax(1) == labels
    if not worth_trying(right):
        why = f"with {int(right.sum())} of {len(right)} images right, none could be clearly better"
        if not worth_trying(torch.zeros_like(right)):
            why = f"{len(right)} images are too few to tell if one is clearly better"
        text = f"others not tried: {why}"
        return CheckLine("input", "good", text, {"tried": []})
    tried, best = try_other_inputs(classifier, images, labels, right)
    details = {"tried": [asdict(other) for other in tried]}
    if best is None:
        return CheckLine("input", "good", "no other normalisation or order of channels does better", details)
    text = f"{100 * best.accuracy:.0f} % would be right with {best.advice}"
    return CheckLine("input", "hint", text, {**details, "better": asdict(best)})
