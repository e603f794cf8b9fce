"""The contract of loss terms, and the point at which an objective is evaluated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from underfire.attacks.goal import Goal
from underfire.errors import InputError, UserCodeError
from underfire.system import Reading
from underfire.user_parts import Part, guarded, is_own, shape_of


@dataclass(frozen=True)
class Point:
    """Everything that a loss term may look at in one step. Tensors have leading dimension N.

    Args:
        image: the current adversarial images N x C x H x W in [0, 1], differentiable in the perturbation.
        reading: logits and maps of ``image`` from the shared forward pass, made when first looked at.
        classes: int64 N, the classes that ``goal`` is about.
        goal: reach a class, or leave one.
        target_maps: the wanted maps N x h x w in [0, 1], by interpreter.
        penalty: the perturbation's own cost, N.
        price: the weight of the penalty for each image, N: 1 / c, where c is the constant that a search sets (1 without
            a search).
        run: run the network on other images N x C x H x W and return logits N x K. The pass, and its backward pass if
            the images carry a gradient, count as passes of the attack.
        target_probabilities: the class probabilities N x K that the rule for target classes wants the images to get;
            None if it wants none.
        known: results of passes that several parts look at in one step, by a text of their own; see ``squeezed``.
    """

    image: Tensor
    reading: Reading
    classes: Tensor
    goal: Goal
    target_maps: Mapping[str, Tensor]
    penalty: Tensor
    price: Tensor
    run: Callable[[Tensor], Tensor]
    target_probabilities: Tensor | None = None
    known: dict[str, Tensor] = field(default_factory=dict, repr=False, compare=False)


class Term(Part, ABC):
    """One term of an objective: N values to be minimised, one per image. Terms never mix images.

    Class attributes:
        name: the term's name on the command line and in traces.
        needs_maps: True if the term reads maps; stages with such a term read them.
        needs_cost: True if the term is 0 under a perturbation without a cost of its own; attacks refuse such a term.
    """

    name: ClassVar[str]
    needs_maps: ClassVar[bool] = False
    needs_cost: ClassVar[bool] = False

    @abstractmethod
    def __call__(self, point: Point) -> Tensor:
        """Compute the term for every image, N."""

    @property
    def has_gradient(self) -> bool:
        """False if the term cannot be differentiated in the image. Attacks that take gradients refuse it then."""
        return True

    @property
    def steps_alike(self) -> bool:
        """True if the term makes the same operations on the image's device in every step.

        On a GPU, steps can then be recorded once and repeated.
        """
        return True


class Evading(Term):
    """A term that lowers a detector's score. Iterates that the detector would not notice rank first."""

    @abstractmethod
    def evades(self, point: Point) -> Tensor:
        """Return True for images that the detector would not notice, bool N."""


def values_of(term: Term, point: Point) -> Tensor:
    """Compute a term for every image, N.

    Raises:
        InputError: the term returns something else than one value per image.
        UserCodeError: a term of the user's own raises an error, or is NaN for some image.
    """
    found: Any = guarded(term, "term")(point)
    if not isinstance(found, Tensor) or found.shape != (len(point.image),):
        raise InputError(
            f"term {term.name!r} returns {shape_of(found)}; expected a tensor of {len(point.image)} values, one per "
            "image. A mean or sum over the batch would let images influence each other."
        )
    if is_own(term) and not (found.is_cuda and torch.cuda.is_current_stream_capturing()):
        _check_numbers(term, found.detach())
    return found


def _check_numbers(term: Term, found: Tensor) -> None:
    """Raise UserCodeError if a term is NaN for an image: no step would move it, as if it could not be attacked."""
    if bool(found.isnan().any()):
        raise UserCodeError(
            f"term {term.name!r} is NaN for some image; expected a number for each: NaN comes from a division by 0, or "
            "from a logarithm or square root of 0 or less."
        )
