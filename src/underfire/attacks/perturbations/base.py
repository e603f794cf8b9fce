"""The contract of perturbations: how an adversarial image is parameterised and moved."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from underfire import randomness
from underfire.attacks.perturbations.eps import EPS, eight_bit_box
from underfire.attacks.rows import PARENT, Row
from underfire.attacks.rules import Rule
from underfire.attacks.schedule import Cosine, Weight
from underfire.attacks.terms.prediction import Prediction
from underfire.attacks.variants import Variant
from underfire.errors import InputError, UserCodeError
from underfire.user_parts import Part, shape_of

Theta = dict[str, Tensor]


class Perturbation(Part, ABC):
    """Parameters theta (a dict of tensors with leading dimension N), and the image that they stand for.

    Implementations are frozen dataclasses. A perturbation whose change of every pixel is bounded has a field ``eps``.

    Class attributes:
        name: the perturbation's name, which is also that of its prediction-only attack.
        about: one line for ``underfire list presets``.
        about_alone: one line on the prediction-only attack.
        step_unit: how ``underfire list presets`` shows step sizes: ``levels`` (of 1/255) or ``rate``.
        rows: the published schedules by family of interpreters; see ``Row``.
        prediction: the prediction term of the prediction-only attack.
    """

    name: ClassVar[str]
    about: ClassVar[str] = ""
    about_alone: ClassVar[str] = ""
    step_unit: ClassVar[str] = "rate"
    rows: ClassVar[Mapping[str, Row]] = MappingProxyType({})
    prediction: ClassVar[Prediction] = Prediction()

    @classmethod
    def has(cls, setting: str) -> bool:
        """Return True if the perturbation is made with a setting of this name, such as ``eps``."""
        return setting in inspect.signature(cls).parameters

    @classmethod
    def make(cls, **settings: Any) -> Self:
        """Make the perturbation with the given ``eps`` and ``noise_eps``; its own defaults replace None.

        Raises:
            InputError: the perturbation has no such setting.
        """
        given = {name: value for name, value in settings.items() if value is not None}
        for name, value in given.items():
            if cls.has(name):
                continue
            if name == "eps":
                raise InputError.about(
                    name,
                    f"eps is {value!r:.8}, and {cls.name} has no ball: its changes are as large as they need to be. "
                    "noise_eps sets the size of the noise that maps are compared with.",
                )
            raise InputError.about(
                name,
                f"{name} is {value!r:.8}, and {cls.name} has no such setting: the noise that its maps are compared "
                "with is as large as its eps.",
            )
        return cls(**given)

    def completed(self, joint: bool, shaped: bool, variant: Variant) -> Self:
        """Return the perturbation with settings that are None filled in for one attack.

        Args:
            joint: True for an attack on prediction and maps.
            shaped: True if the perturbation is weighted by edges.
            variant: settings that paper and published experiments have differently.
        """
        return self

    def alone(self) -> Perturbation:
        """Return the perturbation of the prediction-only control, with the same start."""
        return self

    @property
    def name_alone(self) -> str:
        """The name of the prediction-only attack with this perturbation."""
        return self.name

    def for_auto(self) -> tuple[Perturbation, Rule, Weight]:
        """Return the form in which ``auto`` moves the perturbation, its rule, and its step size over the attack.

        By default these are the perturbation itself, and the rule of its schedule for CAM. The step size falls from
        three times that of this schedule to a quarter of it.
        """
        row = self.rows.get(PARENT) or next(iter(self.rows.values()))
        return self, row.rule, Cosine(3 * row.size, row.size / 4)

    @classmethod
    def has_cost(cls) -> bool:
        """Return True if the perturbation has a cost of its own, see ``penalty``."""
        return cls.penalty is not Perturbation.penalty

    def warmup_factor(self, variant: Variant) -> float:
        """Return the factor of the prediction term in the warm-up of a joint attack."""
        return 1.0

    @abstractmethod
    def start(self, images: Tensor, weights: Tensor, ids: Tensor, seed: int) -> Theta:
        """Make the parameters at the start.

        Args:
            images: benign images N x C x H x W in [0, 1] on the 8-bit grid.
            weights: the shaping, N x 1 x H x W in [0, 1].
            ids: int64 N, for random starts.
        """

    @abstractmethod
    def variable(self, theta: Theta) -> Tensor:
        """Return the part of theta in which gradients are taken, N x ..."""

    @abstractmethod
    def image(self, theta: Theta, variable: Tensor) -> Tensor:
        """Compose the image of ``variable``: valid pixels, constraint met, shaping applied; differentiable."""

    @abstractmethod
    def move(self, theta: Theta, direction: Tensor, size: Tensor) -> Theta:
        """Make a step of ``size`` (N) along ``direction`` (shaped like the variable), and meet the constraint."""

    def penalty(self, theta: Theta, variable: Tensor, image: Tensor) -> Tensor:
        """Compute the perturbation's own cost on the composed image, N; 0 if it has a hard constraint instead."""
        return image.new_zeros(len(image))

    def reshaped(self, theta: Theta, weights: Tensor) -> Theta:
        """Return theta under another shaping N x 1 x H x W, which acts from here on."""
        return theta | {"weights": weights}

    def levels(self, images: Tensor, adversarial: Tensor) -> Tensor:
        """Round ``adversarial`` to multiples of 1/255: the nearest ones *inside* the constraint around ``images``.

        It depends on its arguments alone, and is also called before ``start``.
        """
        return (adversarial * 255).round().clamp(0, 255) / 255

    @property
    def noise_size(self) -> float:
        """The size of the noise control in pixel units: ``noise_eps``, or the default radius without such a setting.

        It does not depend on the attack's change: otherwise, a larger change would allow the map to move farther.
        """
        value: float | None = getattr(self, "noise_eps", None)
        return EPS if value is None else value

    def noise(self, images: Tensor, ids: Tensor, seed: int, draw: int = 0) -> Tensor:
        """Make noisy images at 8 bits: every value moves up or down at random, by the whole levels in ``noise_size``.

        Args:
            images: the benign images.
            ids: int64 N.
            seed: of all random numbers.
            draw: the number of the noise draw. Draw 0 is shown and measured as the noise control; all draws make the
                limit of "kept".
        """
        drawn = randomness.uniform(seed, ids, "noise control", draw, images.shape[1:])
        low, high = eight_bit_box(images, self.noise_size)
        return torch.where(drawn < 0.5, high, low)


def penalty_of(perturbation: Perturbation, theta: Theta, variable: Tensor, image: Tensor) -> Tensor:
    """Compute the perturbation's own cost, N.

    Raises:
        InputError: the cost is no tensor of N values.
    """
    found: Any = perturbation.penalty(theta, variable, image)
    if not isinstance(found, Tensor) or found.shape != (len(image),):
        raise InputError(
            f"the penalty of perturbation {perturbation.name!r} returns {shape_of(found)}; expected a tensor of "
            f"{len(image)} values, one per image."
        )
    return found


def check_levels(found: Any, images: Tensor, name: str) -> None:
    """Raise UserCodeError unless ``levels`` of a perturbation gave images like ``images`` at 8 bits."""
    if not isinstance(found, Tensor) or found.shape != images.shape:
        raise UserCodeError(
            f"levels of perturbation {name!r} returns {shape_of(found)}; expected images, shape {tuple(images.shape)}."
        )
    away, low, high = (float(value) for value in ((found * 255 - (found * 255).round()).abs().max(), *found.aminmax()))
    if not (away < 1e-3 and low >= 0 and high <= 1):  # written so that NaN fails
        raise UserCodeError(
            f"levels of perturbation {name!r} returns values from {low:.4g} to {high:.4g} "
            f"that lie up to {away:.2g} of 255 levels beside whole ones; expected multiples of 1/255 in [0, 1], as "
            "saved images have: end it with (adversarial * 255).round().clamp(0, 255) / 255."
        )
