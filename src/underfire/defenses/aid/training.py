"""The steps of AID: the masker's own loss, minus how far an attack on it, made anew in each step, moves its map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from underfire.attacks.aim import Aim
from underfire.attacks.attack import Attack
from underfire.attacks.loop import Loop
from underfire.attacks.presets import preset
from underfire.classifiers import Classifier
from underfire.classifiers.modes import evaluating
from underfire.defenses.aid.recipe import AidRecipe
from underfire.defenses.training import DefenseTraining, OnStep
from underfire.errors import InputError
from underfire.interpreters.rts import RTS, Masker, MaskerRecipe
from underfire.interpreters.rts.sampling import Pictures
from underfire.interpreters.rts.training import Training
from underfire.processes import ALONE, Group
from underfire.system import System, SystemView


class AidTraining(DefenseTraining):
    """The training of one masker, in place.

    Args:
        recipe: all settings.
        classifier: the classifier, which is the masker's encoder, too.
        masker: the trained masker from which the training goes on. It is changed.
        pictures: training images, with labels in the classifier's order.
        folder: the folder of the checkpoint; it must exist.
        on_step: called after each step, once a checkpoint of that step is on disk; in the leading process alone.
        group: the processes that train together.
        confidence: the evidence for the class that a place must show in the maps that are attacked, as a user of the
            masker reads them. The masker's own loss needs none.
    """

    name = "aid"

    def __init__(
        self,
        recipe: AidRecipe,
        classifier: Classifier,
        masker: Masker,
        pictures: Pictures,
        folder: Path,
        on_step: OnStep | None = None,
        group: Group = ALONE,
        confidence: float = 0.0,
    ) -> None:
        super().__init__(recipe, masker, pictures, folder, on_step, group)
        self.recipe, self.masker, self.confidence = recipe, masker, confidence
        prepared = classifier.prepare(size=pictures.size())
        own = MaskerRecipe(decoder_batch=recipe.batch, seed=recipe.seed, width=masker.shape.width)
        self.plain = Training(own, prepared, prepared, pictures, folder)
        self.plain.masker = masker
        interpreter = RTS(masker, confidence=confidence)
        self.view = SystemView(prepared, {"rts": interpreter.view()})
        settings: dict[str, Any] = {"steps": (recipe.warmup, recipe.joint)}
        if recipe.attack == "auto":
            settings = {"budget": recipe.warmup + recipe.joint}
        made = preset(recipe.attack, eps=recipe.eps, **settings).build(System(classifier, interpreter))
        if not isinstance(made, Attack):
            raise InputError(f"attack is {recipe.attack!r}, which does not run on a masker in training.")
        self.attack = made

    def parameters(self) -> list[nn.Parameter]:
        return [value for name, value in self.masker.named_parameters() if not name.startswith("selector")]

    def step(self, number: int) -> dict[str, Tensor]:
        """Compute the loss of step ``number``, the masker's own loss, and the distance of the attacked maps."""
        recipe, batch = self.recipe, self.plain.decoder_batch(number)
        part = self.group.part(len(batch.images))
        own = part.weight * self.plain.decoder_values(batch.rows(part.rows))["loss"]
        images, labels, generator = self.pictures.step(number, recipe.attacked, recipe.seed + 7)
        shift = torch.randint(1, self.masker.shape.classes, labels.shape, generator=generator)
        targets = (labels + shift) % self.masker.shape.classes
        part = self.group.part(len(images))
        whole = (images, labels, targets, torch.arange(len(images)))
        images, labels, targets, ids = (each[part.rows].to(self.plain.device) for each in whole)
        attacked = self.attacked(images, labels, targets, ids, number)
        distance = (self.maps(images, labels) - self.maps(attacked, targets)).abs().mean()
        distance = part.weight * distance
        return {"loss": own - recipe.weight * distance, "own": own, "distance": distance}

    def maps(self, images: Tensor, classes: Tensor) -> Tensor:
        """Read the masker's maps N x h x w as an analyst would: in evaluation mode, but differentiable in its weights.

        Args:
            images: N x C x H x W in [0, 1].
            classes: int64 N.
        """
        with torch.no_grad():
            scales = self.masker.scales_of(self.plain.encoder.record(images, scales=True), self.plain.size)
        with evaluating(self.masker):
            found: Tensor = self.masker(scales, classes, self.confidence)[0]
        return found

    def attacked(self, images: Tensor, labels: Tensor, targets: Tensor, ids: Tensor, number: int) -> Tensor:
        """Attack the classifier and the masker as they stand.

        Args:
            images: N x C x H x W in [0, 1] with 8-bit values.
            labels, targets: int64 N, the images' own classes and those to reach.
            ids: int64 N, the images' places in the batch, for random starts.
            number: of the step, for random starts.

        Returns:
            The attacked images, without a graph.
        """
        with torch.no_grad():
            wanted = {"rts": self.maps(images, labels)}
        aim = Aim(self.attack.goal, targets, wanted, keeps_benign=True)
        with torch.enable_grad():
            outcome = Loop(self.attack, self.view, images, aim, ids, seed=self.recipe.seed * 1_000_003 + number)()
        return outcome.images.detach()
