"""The steps of a robust training, each with an attack on the network as it stands.

A step draws its images and random numbers from its own number, so that an interrupted training can continue with the
same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from underfire.classifiers import Classifier, Live, Recorded
from underfire.classifiers.pixels import Pixels
from underfire.defenses.robust.inner import ascend
from underfire.defenses.robust.objectives import Objective
from underfire.defenses.robust.penalties import Given
from underfire.defenses.robust.pieces import pieces
from underfire.defenses.robust.recipe import RobustRecipe
from underfire.defenses.training import DefenseTraining, OnStep
from underfire.interpreters.rts.sampling import Pictures
from underfire.processes import ALONE, Group


class RobustTraining(DefenseTraining):
    """The training of one classifier, in place.

    Args:
        recipe: all settings.
        classifier: the trained classifier from which the training goes on. Its network is changed.
        pictures: training images, with labels in the classifier's order.
        folder: the folder of the checkpoint; it must exist.
        on_step: called after each step, once a checkpoint of that step is on disk; in the leading process alone.
        group: the processes that train together.
    """

    name = "robust"

    def __init__(
        self,
        recipe: RobustRecipe,
        classifier: Classifier,
        pictures: Pictures,
        folder: Path,
        on_step: OnStep | None = None,
        group: Group = ALONE,
    ) -> None:
        super().__init__(recipe, classifier.module, pictures, folder, on_step, group)
        self.recipe = recipe
        self.classifier, self.live = classifier, Live(classifier)
        # The classifier's own passes are those of a trained network, in evaluation mode; these follow the mode.
        self.trained = Pixels(
            classifier.module, classifier.mean, classifier.std, classifier.features, classifier.reader
        )

    def step(self, number: int) -> dict[str, Tensor]:
        """Compute the loss of step ``number``, its parts, and the accuracy on the attacked images, of this process.

        The accuracy is that of the images whose cross-entropy is in the loss, if no attacked ones pass.
        """
        recipe, device, own = self.recipe, self.classifier.device, self.recipe.made
        images, labels, generator = self.pictures.step(number, recipe.batch, recipe.seed)
        images = self._augmented(images, generator)
        start = random_start(images, generator) if own.attacks else torch.zeros_like(images)
        part = self.group.part(len(images))
        images, labels, start = (each[part.rows].to(device) for each in (images, labels, start))
        attacked = self.attack(images, labels, recipe.strength_at(number), start) if own.attacks else None
        passes = self._passes(images if own.passes_clean else None, attacked if own.passes_attacked else None)
        penalty = None
        if own.penalty is not None:
            parameters = self.parameters()
            penalty = own.penalty.mean(Given(self.live, images, attacked, labels, passes, parameters, recipe.segments))
        last = passes[1] or passes[0]
        assert last is not None
        found = own.parts(*passes, labels, penalty, recipe.gamma) | {"accuracy": _accuracy(last, labels)}
        return {name: part.weight * value for name, value in found.items()}

    def _passes(self, clean: Tensor | None, attacked: Tensor | None) -> tuple[Recorded | None, Recorded | None]:
        """Pass images, both kinds together, so that batch norms see one batch.

        The passes are in training mode, unless the loss has gradients in images: those are of the network in evaluation
        mode, and so is the rest of that loss.
        """
        network = self.live if self.recipe.made.differentiates else self.trained
        if clean is not None and attacked is not None:
            return _halves(network.record(torch.cat([clean, attacked])))
        return (
            None if clean is None else network.record(clean),
            None if attacked is None else network.record(attacked),
        )

    def attack(
        self,
        images: Tensor,
        labels: Tensor,
        strength: float,
        start: Tensor,
        objective: Objective | None = None,
    ) -> Tensor:
        """Attack the network as it stands, in evaluation mode, by signed gradient steps.

        Args:
            images: N x C x H x W in [0, 1].
            labels: int64 N.
            strength: the factor of ``eps`` and ``step_size``.
            start: where the attack begins in the ball, in [-1, 1], as ``images``; see ``random_start``.
            objective: what the attack ascends; that of the recipe if None.

        Returns:
            The attacked images, in [0, 1] and within ``strength * eps`` of ``images``; no graph.
        """
        recipe, own = self.recipe, objective or self.recipe.made
        eps, size = strength * recipe.eps, strength * recipe.step_size
        attacked = (images + eps * start).clamp(0, 1)
        parts = pieces(len(images), recipe.attack_segments if own.ascend_penalty and own.integrates else 1)
        return torch.cat(
            [
                ascend(
                    images[part],
                    attacked[part],
                    eps,
                    size,
                    recipe.attack_steps,
                    self.ascended(images[part], labels[part], own),
                )
                for part in parts
            ]
        )

    def ascended(self, images: Tensor, labels: Tensor, own: Objective) -> Callable[[Tensor], Tensor]:
        """Return what the inner attack on ``images`` ascends: a function of attacked images, to N."""
        recipe, penalty = self.recipe, None
        if own.ascend_penalty:
            assert own.penalty is not None
            penalty = own.penalty.ascended(self.live, images, labels, recipe.attack_segments)

        def value(leaf: Tensor) -> Tensor:
            recorded = self.live.record(leaf) if own.inner_passes else None
            logits = None if recorded is None else recorded.logits
            return own.inner(logits, labels, None if penalty is None else penalty(leaf, recorded), recipe.gamma)

        return value

    def _augmented(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Crop padded images at random places, and mirror a random half of them."""
        shift, (height, width) = self.recipe.shift, images.shape[2:]
        if shift:
            colour = self.classifier.mean or (0.5,) * images.shape[1]
            middle = torch.tensor(colour).view(1, -1, 1, 1)
            padded = F.pad(images - middle, [shift] * 4) + middle
            places = torch.randint(0, 2 * shift + 1, (len(images), 2), generator=generator).tolist()
            images = torch.stack(
                [
                    image[:, top : top + height, left : left + width]
                    for image, (top, left) in zip(padded, places, strict=True)
                ]
            ).clamp(0, 1)
        if self.recipe.flip:
            mirrored = torch.rand(len(images), generator=generator).lt(0.5).view(-1, 1, 1, 1)
            images = torch.where(mirrored, images.flip(3), images)
        return images


def random_start(images: Tensor, generator: torch.Generator) -> Tensor:
    """Draw where attacks begin in the ball: uniform in [-1, 1], in the shape of ``images``, on the CPU."""
    return 2 * torch.rand(images.shape, generator=generator) - 1


def _accuracy(recorded: Recorded, labels: Tensor) -> Tensor:
    return (recorded.logits.detach().argmax(1) == labels).float().mean()


def _halves(both: Recorded) -> tuple[Recorded, Recorded]:
    """Split a forward pass of clean and attacked images."""
    logits = both.logits.chunk(2)
    features = (None, None) if both.features is None else both.features.chunk(2)
    first, second = (Recorded(logits[i], features[i], both.weight, both.bias, (), both.norm) for i in range(2))
    return first, second
