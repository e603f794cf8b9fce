"""The contract of squeezers, and gradients for squeezers that have none."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from underfire.errors import InputError
from underfire.user_parts import Part, guarded, shape_of


class Squeezer(Part, ABC):
    """A transform that removes detail from images, so that a change made by an attack may go with it (Xu et al. 2018).

    A squeezer is a frozen dataclass with one method, ``squeeze``. It treats each image by itself: what comes out for an
    image does not depend on the batch.

    Class attributes:
        name: the kind's name in text forms, such as ``median`` in ``median:3``.
        has_gradient: True if ``squeeze`` is differentiable with a useful gradient. Otherwise attacks use the identity's
            gradient (backward pass differentiable approximation, BPDA, Athalye et al. 2018).
        on_device: True if every call makes the same operations on the images' device, without another library; a GPU
            can then record them.
    """

    name: ClassVar[str]
    has_gradient: ClassVar[bool] = False
    on_device: ClassVar[bool] = False

    @property
    def label(self) -> str:
        """The text form, such as ``median:3``: ``squeezer(label)`` makes an equal squeezer of it."""
        return self.name

    @classmethod
    def from_argument(cls, argument: str) -> Self:
        """Make the squeezer from the text after the colon of its text form, such as ``3`` in ``median:3``.

        Raises:
            InputError: the squeezer takes no argument, or not this one.
        """
        raise InputError(f"squeezer is {f'{cls.name}:{argument}'!r}; {cls.name} takes nothing after a colon.")

    @abstractmethod
    def squeeze(self, images: Tensor) -> Tensor:
        """Squeeze images N x C x H x W in [0, 1]. Returns images of the same shape and dtype, in [0, 1]."""

    def __call__(self, images: Tensor) -> Tensor:
        """Squeeze images as a detector does: exactly, and without a gradient.

        Args:
            images: floating point, N x C x H x W in [0, 1].

        Returns:
            The squeezed images: same shape, dtype and device, in [0, 1].

        Raises:
            InputError: the images have another shape or dtype, or the squeezer returns another shape.
            UserCodeError: a squeezer of the user's own raises an error.
        """
        _check(images)
        with torch.no_grad():
            return self._squeezed(images.detach())

    def differentiable(self, images: Tensor) -> Tensor:
        """Squeeze images with a gradient for attacks. The values are those of ``__call__``, bit for bit.

        The gradient is that of ``squeeze`` if ``has_gradient`` is True, and otherwise the identity's.

        Args, Returns and Raises as for ``__call__``.
        """
        if self.has_gradient:
            _check(images)
            return self._squeezed(images)
        return straight_through(images, self(images))

    def _squeezed(self, images: Tensor) -> Tensor:
        squeezed: Any = guarded(self, "squeezer", self.label).squeeze(images)
        if not isinstance(squeezed, Tensor) or squeezed.shape != images.shape:
            raise InputError(
                f"squeezer {self.label!r} returns {shape_of(squeezed)}; expected images of shape {tuple(images.shape)}."
            )
        return squeezed


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def straight_through(images: Tensor, values: Tensor) -> Tensor:
    """Return ``values`` with the gradient of the identity in ``images`` (Bengio et al. 2013).

    Args:
        images: any shape, differentiable.
        values: what was computed from ``images`` without a gradient; same shape.
    """
    passed: Tensor = _StraightThrough.apply(images, values)
    return passed


def _check(images: Tensor) -> None:
    """Raise InputError if ``images`` is no floating point tensor N x C x H x W; only N may be 0."""
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise InputError(f"images have shape {tuple(images.shape)}; expected N x C x H x W; only N may be zero.")
    if not images.is_floating_point():
        raise InputError(f"images are {images.dtype}; expected floating point. Divide 8-bit images by 255.")
