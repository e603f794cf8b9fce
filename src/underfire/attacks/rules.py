"""Rules that turn gradients into directions: sign, unit vector, Adam."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from underfire import adam
from underfire.arguments import check_at_least, check_share

State = dict[str, Tensor]


class Rule(ABC):
    """A rule that turns gradients N x ... into directions that lower the loss, with state per image."""

    def start(self, variable: Tensor) -> State:
        """Make the state for a variable N x ... before its first step."""
        return {}

    @abstractmethod
    def direction(self, gradient: Tensor, state: State) -> tuple[Tensor, State]:
        """Compute the direction N x ... and the new state."""


def per_image(values: Tensor, like: Tensor) -> Tensor:
    """Reshape N values so that they multiply ``like`` (N x ...) image by image."""
    return values.view(-1, *([1] * (like.ndim - 1)))


@dataclass(frozen=True)
class Sign(Rule):
    """Minus the sign of the gradient: steepest descent under L-inf (Goodfellow 2015, Madry 2018)."""

    def direction(self, gradient: Tensor, state: State) -> tuple[Tensor, State]:
        return gradient.sign().neg_(), state


@dataclass(frozen=True)
class SignOfMomentum(Rule):
    """Minus the sign of the momentum: a decaying sum of gradients, each divided by its L2 norm (Dong et al. 2018).

    Args:
        decay: the factor of the earlier gradients at each step.
    """

    decay: float = 0.75

    def __post_init__(self) -> None:
        check_share("decay", self.decay)

    def start(self, variable: Tensor) -> State:
        return {"momentum": torch.zeros_like(variable)}

    def direction(self, gradient: Tensor, state: State) -> tuple[Tensor, State]:
        norm = gradient.flatten(1).norm(dim=1)
        unit = gradient / per_image(norm.clamp_min(1e-20), gradient)
        momentum = self.decay * state["momentum"] + unit
        return momentum.sign().neg_(), {"momentum": momentum}


@dataclass(frozen=True)
class UnitL2(Rule):
    """Minus the gradient divided by its L2 norm per image; 0 if the gradient is 0."""

    def direction(self, gradient: Tensor, state: State) -> tuple[Tensor, State]:
        norm = gradient.flatten(1).norm(dim=1)
        return -gradient / per_image(norm.clamp_min(1e-20), gradient), state


@dataclass(frozen=True)
class UnitRMS(Rule):
    """Minus the gradient divided by its root mean square per image; 0 if the gradient is 0.

    The same direction as ``UnitL2``. A step size is the root mean square change of a value, so that one size serves
    images of any height and width.
    """

    def direction(self, gradient: Tensor, state: State) -> tuple[Tensor, State]:
        mean = gradient.flatten(1).square().mean(1).sqrt()
        return -gradient / per_image(mean.clamp_min(1e-20), gradient), state


@dataclass(frozen=True)
class Adam(Rule):
    """Adam's direction (Kingma & Ba 2015).

    Args:
        beta1: the decay of the mean of gradients.
        beta2: the decay of the mean of their squares.
        epsilon: added to the denominator.
        amsgrad: divide by the largest mean of squares so far (Reddi et al. 2018).
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    amsgrad: bool = True

    def __post_init__(self) -> None:
        check_share("beta1", self.beta1)
        check_share("beta2", self.beta2)
        check_at_least("epsilon", self.epsilon, 0)

    def start(self, variable: Tensor) -> State:
        return adam.start(variable, self.amsgrad)

    def direction(self, gradient: Tensor, state: State) -> tuple[Tensor, State]:
        return adam.direction(gradient, state, self.beta1, self.beta2, self.epsilon)
