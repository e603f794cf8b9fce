"""Training a masker in two phases: the selector learns which classes are there, then the decoder where they are.

Every step draws its images and random numbers from its own number, so that a training which was interrupted goes on
with the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.classifiers import Prepared
from underfire.errors import InputError
from underfire.interpreters.rts.losses import MaskLoss, presence_loss
from underfire.interpreters.rts.network import Masker, Shape
from underfire.interpreters.rts.replacing import composed, replacements
from underfire.interpreters.rts.sampling import Pictures, drawn, with_fakes
from underfire.zoo.folder import load_checkpoint, save_checkpoint

Log = dict[str, dict[str, list[float]]]
CHECKPOINT_EVERY = 50


@dataclass(frozen=True)
class MaskerRecipe:
    """Everything that a masker's training depends on beside the networks and the images.

    Args:
        selector_steps, decoder_steps: of the two phases.
        selector_batch, decoder_batch: images per step.
        selector_fakes, decoder_fakes: how often a class is asked for that is not the image's own.
        rate, weight_decay: of Adam; the rate falls to a tenth every ``drop_every`` steps.
        loss: of the decoder's phase.
        width: channels of the finest features.
        confidence: evidence that a place must show when maps are read; 0 while training. None takes the published 6 for
            images of at least 128 pixels, and 0 below.
        seed: of weights, order and everything that is drawn.
    """

    selector_steps: int = 300
    decoder_steps: int = 1500
    selector_batch: int = 128
    decoder_batch: int = 64
    selector_fakes: float = 0.5
    decoder_fakes: float = 0.3
    rate: float = 1e-3
    weight_decay: float = 1e-4
    drop_every: int = 4000
    loss: MaskLoss = field(default_factory=MaskLoss)
    width: int = 32
    confidence: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.selector_steps, self.decoder_steps) < 1:
            raise InputError(
                f"steps are {self.selector_steps},{self.decoder_steps}; expected at least 1 for the selector and 1 for "
                "the decoder: maps of an untrained masker mean nothing."
            )
        if self.width < 8 or self.width % 8:
            raise InputError(f"width is {self.width}; expected a multiple of 8.")

    def steps(self, phase: str) -> int:
        return self.selector_steps if phase == "selector" else self.decoder_steps


@dataclass(frozen=True)
class Step:
    """What is known after a step: its phase, its number there from 1, the phase's steps, and what was measured."""

    phase: str
    number: int
    total: int
    values: Mapping[str, float]


class Training:
    """The two phases on one pair of networks.

    Args:
        classifier, encoder: prepared; the same object where the encoder is the classifier.
        pictures: what to train on, with labels in the classifier's order.
        folder: where the checkpoint lies; it must exist.
        on_step: called after each step; after a step that wrote a checkpoint, once it is on disk.
    """

    def __init__(
        self,
        recipe: MaskerRecipe,
        classifier: Prepared,
        encoder: Prepared,
        pictures: Pictures,
        folder: Path,
        on_step: Callable[[Step], None] | None = None,
    ) -> None:
        self.recipe, self.classifier, self.encoder = recipe, classifier, encoder
        self.pictures, self.folder, self.on_step = pictures, folder, on_step
        self.device = next(classifier.module.parameters()).device
        self.size = pictures.size()
        grey = torch.full((2, pictures.classifier.channels, *self.size), 0.5, device=self.device)
        with torch.no_grad():
            shape = Shape.of(encoder.record(grey, scales=True), self.size, recipe.width)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            masker = Masker(shape)
        self.masker: Masker = masker.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.log: Log = {"selector": {}, "decoder": {}}

    def run(self) -> Masker:
        """The trained masker, in evaluation mode on the CPU. Goes on from the folder's checkpoint where it has one."""
        saved = load_checkpoint(self.folder, self.device)
        if saved is not None:
            self.masker.load_state_dict(saved["masker"])
            self.log = saved["log"]
        for phase, step in (("selector", self._selector_step), ("decoder", self._decoder_step)):
            if saved is not None and (phase, saved["phase"]) == ("selector", "decoder"):
                continue
            mine = [
                p for name, p in self.masker.named_parameters() if name.startswith("selector") == (phase == "selector")
            ]
            optimiser = torch.optim.Adam(mine, lr=self.recipe.rate, weight_decay=self.recipe.weight_decay)
            begin = 0
            if saved is not None and saved["phase"] == phase:
                optimiser.load_state_dict(saved["optimiser"])
                begin = saved["step"]
            self._phase(phase, step, optimiser, begin)
        return self.masker.eval().cpu().requires_grad_(False)

    def _phase(
        self, phase: str, step: Callable[[int], dict[str, Tensor]], optimiser: torch.optim.Optimizer, begin: int
    ) -> None:
        total = self.recipe.steps(phase)
        self.masker.train()
        for number in range(begin, total):
            optimiser.param_groups[0]["lr"] = self.recipe.rate * 0.1 ** (number // self.recipe.drop_every)
            found = step(number)
            optimiser.zero_grad()
            torch.autograd.backward(found["loss"])
            optimiser.step()
            values = {name: float(value.detach()) for name, value in found.items()}
            for name, value in values.items():
                self.log[phase].setdefault(name, []).append(value)
            if (number + 1) % CHECKPOINT_EVERY == 0 or number + 1 == total:
                state = {"phase": phase, "step": number + 1, "masker": self.masker.state_dict(), "log": self.log}
                save_checkpoint(self.folder, state | {"optimiser": optimiser.state_dict()})
            if self.on_step is not None:
                self.on_step(Step(phase, number + 1, total, values))

    def _batches(self, phase: str, number: int) -> tuple[Tensor, Tensor, torch.Generator]:
        seed = 2 * self.recipe.seed + (phase == "decoder")
        batch = self.recipe.selector_batch if phase == "selector" else self.recipe.decoder_batch
        images, labels = self.pictures.load(drawn(len(self.pictures), batch, number, seed))
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        return images.to(self.device), labels, generator

    def _selector_step(self, number: int) -> dict[str, Tensor]:
        images, labels, generator = self._batches("selector", number)
        classes, real = with_fakes(labels, self.masker.shape.classes, self.recipe.selector_fakes, generator)
        with torch.no_grad():
            recorded = self.encoder.record(images, scales=True)
        top = self.masker.scales_of(recorded, self.size)[0]
        presence = self.masker.presence(top, classes.to(self.device))
        real = real.to(self.device)
        right = ((presence > 0) == real).float().mean()
        return {"loss": presence_loss(presence, real).mean(), "accuracy": right}

    def _decoder_step(self, number: int) -> dict[str, Tensor]:
        images, labels, generator = self._batches("decoder", number)
        classes, real = with_fakes(labels, self.masker.shape.classes, self.recipe.decoder_fakes, generator)
        with torch.no_grad():
            scales = self.masker.scales_of(self.encoder.record(images, scales=True), self.size)
        maps, _ = self.masker(scales, classes.to(self.device), 0.0)
        large = F.interpolate(maps.unsqueeze(1), self.size, mode="bilinear", align_corners=False).squeeze(1)
        others = replacements(images, generator)
        both = torch.cat([composed(images, others, large), composed(images, others, 1 - large)])
        preserved, destroyed = self.classifier.run(both).chunk(2)
        real = real.to(self.device)
        parts = self.recipe.loss.parts(large, preserved, destroyed, labels.to(self.device), real)
        means = {"map": _mean(maps, real), "fake_map": _mean(maps, ~real)}
        return {"loss": self.recipe.loss.total(parts), **parts, **means}


def _mean(maps: Tensor, chosen: Tensor) -> Tensor:
    """The mean of the chosen maps; NaN where there is none."""
    return maps[chosen].mean()


def rows(log: Log) -> Iterator[tuple[str, int, str, float]]:
    """Phase, step, name and value of everything in the log, in the order of steps."""
    for phase, columns in log.items():
        for number in range(max((len(values) for values in columns.values()), default=0)):
            for name, values in columns.items():
                yield phase, number + 1, name, values[number]
