"""The two training phases of a masker: the selector learns which classes are present, then the decoder where they are.

Each step draws its images and random numbers from its own number, so that an interrupted training can continue with
the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire import training as loop
from underfire.arguments import check_known
from underfire.classifiers import Prepared
from underfire.data.sampling import evenly_spaced
from underfire.errors import InputError
from underfire.interpreters.rts.head import HEAD_IMAGES, head_selector
from underfire.interpreters.rts.losses import MaskLoss, presence_loss
from underfire.interpreters.rts.network import Masker, Shape
from underfire.interpreters.rts.replacing import composed, replacements
from underfire.interpreters.rts.sampling import Pictures, with_fakes
from underfire.numerics import to_channels_last

SELECTORS = ("trained", "head")
CHECKPOINT_EVERY = 50
"""Steps between two checkpoints."""


@dataclass(frozen=True)
class MaskerRecipe:
    """All settings of a masker's training.

    Args:
        selector: ``trained``, or ``head`` for the classifier's own head, which knows all classes already (see
            ``head_selector``). The selector is not trained then. This is for data with few images per class, or that
            lack some classes.
        selector_steps, decoder_steps: steps of the two phases, at least 1 each. With ``head``, the former are 0.
        selector_batch, decoder_batch: images per step.
        selector_fakes, decoder_fakes: the probability, in [0, 1], of asking for another class than the image's own.
        rate, weight_decay: of Adam. The rate is divided by 10 after every ``drop_every`` steps.
        loss: the loss of the decoder's phase.
        width: channels of the finest features, a multiple of 8.
        confidence: the evidence that a place must show when maps are read; training uses 0. If None, the published
            value 6 for images of at least 128 pixels, and 0 for smaller ones.
        seed: of initial weights, order of images, and all random draws.

    Raises:
        InputError: the steps or the width are out of range.
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
    selector: str = "trained"

    def __post_init__(self) -> None:
        check_known("selector", self.selector, SELECTORS)
        if self.selector == "head":
            object.__setattr__(self, "selector_steps", 0)
        if self.decoder_steps < 1 or (self.selector == "trained" and self.selector_steps < 1):
            raise InputError(
                f"steps are {self.selector_steps},{self.decoder_steps}; expected at least 1 for the selector and 1 for "
                "the decoder: maps of an untrained masker mean nothing."
            )
        if self.width < 8 or self.width % 8:
            raise InputError(f"width is {self.width}; expected a multiple of 8.")


class DecoderBatch(NamedTuple):
    """The images of a step of the decoder, and what was drawn for each.

    Args:
        images: N x C x H x W in [0, 1].
        labels: int64 N, the images' own classes.
        classes: int64 N, the classes whose maps are asked for.
        real: bool N: True if that class is the image's own.
        others: N x C x H x W in [0, 1]: what replaces removed pixels.
    """

    images: Tensor
    labels: Tensor
    classes: Tensor
    real: Tensor
    others: Tensor

    def rows(self, rows: slice) -> DecoderBatch:
        """Return some of the images, with what was drawn for them."""
        return DecoderBatch(*(each[rows] for each in self))


class Training:
    """The training of one masker.

    Args:
        recipe: all settings.
        classifier, encoder: prepared networks; the same object if the encoder is the classifier.
        pictures: training images, with labels in the classifier's order.
        folder: the folder of the checkpoint; it must exist.
        on_step: called after each step, once a checkpoint of that step is on disk.
    """

    def __init__(
        self,
        recipe: MaskerRecipe,
        classifier: Prepared,
        encoder: Prepared,
        pictures: Pictures,
        folder: Path,
        on_step: Callable[[loop.Step], None] | None = None,
    ) -> None:
        self.recipe, self.classifier, self.encoder = recipe, classifier, encoder
        self.pictures, self.folder, self.on_step = pictures, folder, on_step
        self.device = next(classifier.module.parameters()).device
        self.size = pictures.size()
        grey = torch.full((2, pictures.classifier.channels, *self.size), 0.5, device=self.device)
        with torch.no_grad():
            shape = Shape.of(encoder.record(grey, scales=True), self.size, recipe.width)
        with loop.initial_weights(recipe.seed):
            masker = Masker(shape)
        if recipe.selector == "head":
            images, labels = pictures.load(evenly_spaced(len(pictures), HEAD_IMAGES))
            with torch.no_grad():
                recorded = encoder.record(images.to(self.device))
                masker.selector.weight.copy_(head_selector(recorded, labels.to(self.device)))
        self.masker = to_channels_last(masker, device=self.device)

    def run(self) -> loop.Log:
        """Train, continuing from the folder's checkpoint if there is one, and return the recorded losses.

        Afterwards ``masker`` is trained: frozen, in evaluation mode, on the CPU.
        """
        recipe, named = self.recipe, dict(self.masker.named_parameters())
        selector = [value for name, value in named.items() if name.startswith("selector")]
        decoder = [value for name, value in named.items() if not name.startswith("selector")]

        def rate(number: int) -> float:
            return recipe.rate * 0.1 ** (number // recipe.drop_every)

        phases = [
            loop.Phase(
                name=name,
                steps=steps,
                optimiser=loop.make_optimiser("adam", parameters, recipe.rate, recipe.weight_decay),
                rate=rate,
                compute=compute,
                checkpoint_every=CHECKPOINT_EVERY,
            )
            for name, steps, parameters, compute in (
                ("selector", recipe.selector_steps, selector, self._selector_step),
                ("decoder", recipe.decoder_steps, decoder, self._decoder_step),
            )
            if steps
        ]
        log = loop.train(self.masker, phases, self.folder, self.on_step, seed=self.recipe.seed)
        self.masker.eval().cpu().requires_grad_(False)
        return log

    def _batch(self, number: int, seed: int, count: int) -> tuple[Tensor, Tensor, torch.Generator]:
        """The images and labels of a step, and the generator of its random numbers."""
        images, labels, generator = self.pictures.step(number, count, seed)
        return images.to(self.device), labels, generator

    def _selector_step(self, number: int) -> dict[str, Tensor]:
        images, labels, generator = self._batch(number, 2 * self.recipe.seed, self.recipe.selector_batch)
        classes, real = with_fakes(labels, self.masker.shape.classes, self.recipe.selector_fakes, generator)
        with torch.no_grad():
            recorded = self.encoder.record(images, scales=True)
        top = self.masker.scales_of(recorded, self.size)[0]
        presence = self.masker.presence(top, classes.to(self.device))
        real = real.to(self.device)
        right = ((presence > 0) == real).float().mean()
        return {"loss": presence_loss(presence, real).mean(), "accuracy": right}

    def _decoder_step(self, number: int) -> dict[str, Tensor]:
        return self.decoder_values(self.decoder_batch(number))

    def decoder_batch(self, number: int) -> DecoderBatch:
        """Draw the images of the decoder's step ``number``, and all its random numbers."""
        images, labels, generator = self._batch(number, 2 * self.recipe.seed + 1, self.recipe.decoder_batch)
        classes, real = with_fakes(labels, self.masker.shape.classes, self.recipe.decoder_fakes, generator)
        return DecoderBatch(images, labels, classes, real, replacements(images, generator))

    def decoder_values(self, batch: DecoderBatch) -> dict[str, Tensor]:
        """Compute the decoder's loss, its parts, and mean maps of present and absent classes, over a batch."""
        images, labels, classes, real, others = batch
        with torch.no_grad():
            scales = self.masker.scales_of(self.encoder.record(images, scales=True), self.size)
        maps, _ = self.masker(scales, classes.to(self.device), 0.0)
        large = F.interpolate(maps.unsqueeze(1), self.size, mode="bilinear", align_corners=False).squeeze(1)
        both = torch.cat([composed(images, others, large), composed(images, others, 1 - large)])
        preserved, destroyed = self.classifier.run(both).chunk(2)
        real = real.to(self.device)
        parts = self.recipe.loss.parts(large, preserved, destroyed, labels.to(self.device), real)
        means = {"map": maps[real].mean(), "fake_map": maps[~real].mean()}  # NaN if the batch has no such map
        return {"loss": self.recipe.loss.total(parts), **parts, **means}
