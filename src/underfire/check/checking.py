"""The check itself: every look that can be taken at a classifier and its data before an attack, and one verdict."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from underfire.attacks.probe import probe_logits
from underfire.check.order import agreement, better_order, interval
from underfire.check.trials import Trial, try_interpreters
from underfire.check.variants import variants
from underfire.classifiers import Classifier
from underfire.data import Batch, ImageData
from underfire.data.sampling import evenly_spaced
from underfire.errors import ClassifierError, DataError, InputError, UnderfireError, UnderfireWarning
from underfire.runs.inputs import InputConfig, Inputs, few_images
from underfire.runs.selection import logits_of

BATCH_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Finding:
    """One line of a check. ``problem``: an attack cannot run, or would mean nothing; ``hint``: worth a look."""

    topic: str
    state: Literal["good", "hint", "problem"]
    text: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Check:
    """What was found, and whether an attack can run."""

    classifier: str
    data: str
    findings: list[Finding]
    trials: list[Trial]

    @property
    def ready(self) -> bool:
        no_problem = all(finding.state != "problem" for finding in self.findings)
        return no_problem and any(trial.works for trial in self.trials)

    @property
    def verdict(self) -> str:
        """One line: ready, or what stands in the way, and what deserves a look."""
        problems = [finding.topic for finding in self.findings if finding.state == "problem"]
        hints = [finding.topic for finding in self.findings if finding.state == "hint"]
        works = sum(trial.works for trial in self.trials)
        if problems:
            return f"not ready: see {', '.join(problems)}"
        if not works:
            return "not ready: no interpreter works with this classifier"
        see = f"; but see {', '.join(hints)}" if hints else ""
        return f"ready: {works} of {len(self.trials)} interpreters work{see}"

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            "ready": self.ready,
            "verdict": self.verdict,
            "classifier": self.classifier,
            "data": self.data,
            "findings": [asdict(finding) for finding in self.findings],
            "interpreters": {trial.name: asdict(trial) for trial in self.trials},
        }


@torch.inference_mode(False)
def run_check(config: InputConfig, count: int, device: torch.device) -> Check:
    """Look at a classifier and its data.

    Args:
        config: which ones, and what is said about them.
        count: images to look at, spread over the data in pairs of neighbours.

    Raises:
        InputError, DataError: something that was named is not there, or cannot be. What the classifier does wrong is
            no error but a finding.
    """
    if count < 1:
        raise InputError(few_images(count))
    heard: list[str] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UnderfireWarning)
            inputs = config.open(device)
        heard = [str(warning.message) for warning in caught if issubclass(warning.category, UnderfireWarning)]
        batch = _batch(inputs, count)
        logits = logits_of(inputs.classifier, batch.images)
    except ClassifierError as error:
        return Check(config.classifier, config.data, [Finding("output", "problem", str(error))], [])
    findings = [Finding("source", "hint", text) for text in heard]
    findings.append(_prepared(inputs.classifier))
    if int(batch.labels.max()) >= logits.shape[1]:
        text = f"labels go up to {int(batch.labels.max())}; the classifier has classes 0..{logits.shape[1] - 1}."
        return Check(config.classifier, config.data, [*findings, Finding("class order", "problem", text)], [])
    findings += [
        _accuracy(logits, batch.labels),
        _order(logits.argmax(1), batch.labels, logits.shape[1], inputs),
        _input(inputs.classifier, batch),
        _repeats(inputs.classifier, batch.images),
    ]
    gradient = _gradient(inputs.classifier, batch.images[:8])
    findings.append(gradient)
    if gradient.state == "problem":
        return Check(config.classifier, config.data, findings, [])
    own = logits.argmax(1)
    parts, trials = try_interpreters(inputs.classifier, batch.images[:8], own[:8])
    if parts is not None:
        where = f"features: {parts.features or 'none found'}; head: {parts.head or 'none found'}"
        findings.append(Finding("parts", "good", where, asdict(parts)))
    return Check(config.classifier, config.data, findings, trials)


def _batch(inputs: Inputs, count: int) -> Batch:
    classifier, data = inputs.classifier, inputs.data
    chosen = evenly_spaced(len(data), count)
    batch = data.load(classifier.image_size, classifier.channels, chosen, classifier.resizing)
    if not batch.records:
        raise DataError(f"none of {len(chosen)} images of {data.name!r} can be read: {batch.unreadable[0][1]}")
    return batch


def _prepared(classifier: Classifier) -> Finding:
    how = classifier.preparation()
    size = "as they are" if how["image_size"] is None else " x ".join(map(str, how["image_size"]))
    resize = "" if how["resize"] is None else f", resized to {how['resize']} before the crop"
    normalised = "none" if how["mean"] is None else f"mean {_numbers(how['mean'])}, std {_numbers(how['std'])}"
    channels = "1 channel" if how["channels"] == 1 else f"{how['channels']} channels"
    text = f"images: {size}{resize}, {channels}; normalisation: {normalised}"
    return Finding("preparation", "good", text, how)


def _numbers(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3g}" for value in values)


def _accuracy(logits: Tensor, labels: Tensor) -> Finding:
    from scipy.stats import binomtest

    right, count, classes = int((logits.argmax(1) == labels).sum()), len(labels), logits.shape[1]
    low, high = interval(right, count)
    text = f"{100 * right / count:.1f} % [{100 * low:.0f}, {100 * high:.0f}] of {count} images, {classes} classes"
    details = {"right": right, "n": count, "accuracy": right / count, "low": low, "high": high, "classes": classes}
    if not right:
        return Finding("accuracy", "problem", f"{text}: nothing is right, so there is nothing to attack", details)
    if binomtest(right, count, 1 / classes, alternative="greater").pvalue > 0.01:
        return Finding("accuracy", "hint", f"{text}: near chance", details)
    return Finding("accuracy", "good", text, details)


def _order(predicted: Tensor, labels: Tensor, classes: int, inputs: Inputs) -> Finding:
    names = inputs.classifier.class_names or ()
    fit = better_order(predicted, labels, classes, names)
    if fit is not None:
        text = f"{fit.what}: {100 * fit.accuracy:.0f} % would be right"
        return Finding("class order", "hint", text, {"fit": fit.what, "accuracy": fit.accuracy})
    found = agreement(predicted, labels)
    low, _ = interval(round(found.share * found.count), found.count)
    _, bound = interval(int((predicted == labels).sum()), len(labels))
    consistent = found.count >= 8 and found.share >= 0.5 and low > bound
    if consistent and found.one_to_one:
        shown = [f"{_name(label, inputs.data)} -> {names[other] if names else other}" for label, other in found.pairs]
        text = (
            f"the class order differs: images of one label agree on a class, and it is another one "
            f"({', '.join(shown[:4])}). Say what each stands for with --class-map FILE."
        )
        return Finding("class order", "hint", text, {"agreement": found.share, "pairs": found.pairs})
    if consistent:
        most, often = Counter(predicted.tolist()).most_common(1)[0]
        said = f"class {most} ({names[most]})" if names and names[most] != str(most) else f"class {most}"
        text = (
            f"no order of the classes fits: it answers {said} for {often} of {len(labels)} images. Untrained weights, "
            "the wrong normalisation, or other classes than the data's altogether?"
        )
        return Finding("class order", "hint", text, {"agreement": found.share, "class": most, "answered": often})
    return Finding("class order", "good", "no other order of the classes fits better", {"agreement": found.share})


def _name(label: int, data: ImageData) -> str:
    return data.class_names[label] if label < len(data.class_names) else str(label)


def _input(classifier: Classifier, batch: Batch) -> Finding:
    tried, best = variants(classifier, batch.images[:32], batch.labels[:32])
    details = {"tried": [asdict(variant) for variant in tried]}
    if best is None:
        return Finding("input", "good", "no other normalisation or order of channels does better", details)
    text = f"{100 * best.accuracy:.0f} % would be right with {best.advice}"
    return Finding("input", "hint", text, {**details, "better": asdict(best)})


def _gradient(classifier: Classifier, images: Tensor) -> Finding:
    """Whether an attack has anything to follow. Networks that cannot be prepared for one are judged by the trials."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnderfireWarning)
            prepared = classifier.prepare(size=images.shape[2:])
    except UnderfireError as error:
        return Finding("gradient", "hint", f"not looked at: {error}")
    try:
        with torch.enable_grad():
            probe_logits(prepared, images.to(classifier.device))
    except ClassifierError as error:
        return Finding("gradient", "problem", str(error))
    return Finding("gradient", "good", "the logits follow the image")


def _repeats(classifier: Classifier, images: Tensor) -> Finding:
    images = images[:8].to(classifier.device)
    with classifier.evaluating(), torch.no_grad():
        together = classifier.run(images)
        again = classifier.run(images)
        alone = classifier.run(images[:1])
    scale = float(together.abs().max().clamp_min(1))
    twice = float((again - together).abs().max()) / scale
    apart = float((alone - together[:1]).abs().max()) / scale
    details = {"same_batch_twice": twice, "batch_of_1_against_8": apart}
    text = f"same images twice: {twice:.1g}; batch of 1 against {len(images)}: {apart:.1g} (relative difference)"
    if max(twice, apart) > BATCH_TOLERANCE:
        what = "the logits of an image depend on the others in its batch, or on chance"
        return Finding("repeats", "problem", f"{what}: {text}", details)
    return Finding("repeats", "good", text, details)
