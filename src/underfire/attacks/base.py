"""A call of an attack: read the images, run the attack beside its controls, and judge what it found."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from underfire.arguments import check_callable, whole_number
from underfire.attacks.arms import Asked, arms_of
from underfire.attacks.benign import read_benign
from underfire.attacks.experiment import Experiment
from underfire.attacks.loaders import Images, images_and_labels
from underfire.attacks.measure import Measure
from underfire.attacks.measures import chosen_measures
from underfire.attacks.noise import NOISE_DRAWS
from underfire.attacks.progress import Progress
from underfire.attacks.result import AttackResult
from underfire.attacks.runnable import Runnable
from underfire.errors import InputError, warn
from underfire.flags import without_autocast
from underfire.memory import bytes_of
from underfire.system import System
from underfire.text import no_image


class BaseAttack(Runnable):
    """An attack is a frozen value; calling it attacks images and judges the outcome. See ``Runnable`` for its parts."""

    @without_autocast()
    @torch.inference_mode(False)
    def __call__(
        self,
        system: System,
        images: Images,
        labels: Tensor | Sequence[int] | None = None,
        *,
        count: int | None = None,
        ids: Tensor | Sequence[str] | None = None,
        seed: int = 0,
        batch_size: int | None = None,
        memory: str | int | None = None,
        precision: str = "float32",
        compile: bool = False,
        progress: Progress | None = None,
        trace_every: int | None = None,
        control: Runnable | bool | None = None,
        measures: Measure | str | Sequence[Measure | str] = (),
        noise_draws: int = NOISE_DRAWS,
    ) -> AttackResult:
        """Attack ``images``, and judge the outcome beside its controls, as a run does.

        Args:
            system: what is attacked; it is left as it was found.
            images: N x C x H x W in [0, 1]; rounded to 8 bits first. Not changed. Or a torch ``DataLoader`` (or
                ``Dataset``) that gives (images, labels), or dicts with the usual names (``image``, ``label``), with
                floats in [0, 1] or uint8. All its images become one result, which is held in memory with the images of
                the attack and of each control: about 3 MB for an image of 224 x 224. A loader that shuffles gives
                each image the same result, in another order.
            labels: int64 N, the images' own classes; None for a loader, which brings them.
            count: the largest number of images to take from a loader; all if None.
            ids: stable names (or int64 N) for random draws per image; by default images are known by their pixels.
            seed: of all random numbers. An image's result depends on it, and not on the batch.
            batch_size: images at once; by default as many as suit the device and the image size, and fit into memory.
            memory: the most that the process shall have on the device, such as ``"8GB"`` or a number of bytes; it
                limits the default batch size. If None, what is free counts.
            precision: ``float32``, ``tf32`` or ``bf16`` for the attack; verdicts are always the original network's own.
            compile: compile the network by ``torch.compile`` for passes without a second derivative. It takes up to a
                minute, saves a third of a long attack's time on a GPU, and changes last bits.
            progress: called after each step with the steps done and their number, over all batches and attacks.
            trace_every: record the course every so many steps; see ``Trace``.
            control: an attack on the prediction alone to compare with; none if None or False. ``Preset`` brings its
                own.
            measures: more measures than those of the table ``MEASURES``: objects, or ``file.py:name``.
            noise_draws: the number of times that each image's map is read under random noise, for the limit of "kept".

        Raises:
            InputError, ClassifierError, InterpreterError: see the messages; nothing has been attacked then. If not
                even eight images fit into memory, it is an InputError, too.
        """
        seed = whole_number("seed", seed)
        if batch_size is not None:
            batch_size = whole_number("batch_size", batch_size, 1, ", or None for what suits the device")
        if trace_every is not None:
            trace_every = whole_number("trace_every", trace_every, 1, ", or None for no course")
        check_callable("progress", progress, "with the steps done and their number")
        if control is True or not isinstance(control, Runnable | bool | None):
            raise InputError(
                f"control is {control!r:.80}, and {self.name!r} brings no control of its own; expected an attack on "
                "the prediction alone (preset('pgd').build(system)), or None for no control."
            )
        table = chosen_measures(measures)
        images, labels = images_and_labels(images, labels, system.classifier, count)
        benign = read_benign(system, images, labels, ids)
        _warn_of_size(system, benign.images)
        if not bool(benign.correct.any()):
            raise InputError(
                f"{no_image(len(images), '', 'is', 'classified correctly')}, so there is nothing to attack. Are the "
                "labels in the classifier's order, and is its normalisation right?"
            )
        experiment = Experiment(
            system,
            arms_of(system, [Asked(self, tuple(system.attacked), control or None)]),
            seed=seed,
            batch_size=batch_size,
            memory=bytes_of(memory),
            precision=precision,
            compile=compile,
            size=benign.images.shape[2:],
            measures=table,
            noise_draws=noise_draws,
        )
        found = experiment(benign, progress, trace_every)
        result = AttackResult.build(benign, found, tuple(system.attacked), system.classifier.class_names)
        return result.to(images.device)


def _warn_of_size(system: System, images: Tensor) -> None:
    height, width = images.shape[2:]
    expected = system.classifier.image_size
    if expected is not None and (height, width) != tuple(expected):
        warn(
            f"images are {height} x {width} (height x width), and {system.classifier.name} is for images of "
            f"{expected[0]} x {expected[1]}: what it says about others may mean little. Were they resized?"
        )
