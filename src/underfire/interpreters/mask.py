"""MASK: the smallest part of the image that must be blurred for the class to be lost (Fong & Vedaldi 2017)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor

from underfire.arguments import check_choice, check_known
from underfire.classifiers import Classifier
from underfire.errors import InputError
from underfire.interpreters.base import Interpreter, View
from underfire.interpreters.mask_problem import Problem, problem_of
from underfire.interpreters.mask_settings import Scaled, Settings, Value, at, odd, usual_sigma, values
from underfire.interpreters.mask_solver import solve
from underfire.interpreters.mask_view import MaskView


@dataclass(frozen=True)
class MASK(Interpreter):
    """Meaningful perturbations: 1 - m, for a mask m that is optimised for each image (Fong & Vedaldi 2017, eq. 3).

    The mask minimises p_c(x m + blur(x) (1 - m)) + l1 |1 - m|_1 + tv TV(m), where p_c is the probability of the class.
    A map is 1 at pixels that must be blurred for the class to be lost. Maps are not scaled with min-max.

    The solver is noisy: another ``seed`` gives another map of the same image. Compare every distance between maps with
    the distance between two seeds, which runs report as the noise floor.

    The defaults are the parameters of ADV2's experiments. A parameter given as ``Scaled(small, large)`` has the first
    value for images of 32 pixels and the second for 224, and is interpolated for other sizes. A number is for all.

    Args:
        iterations: the number of Adam's steps.
        learning_rate: of Adam.
        cells: the number of mask cells along the image's short side.
        l1: weight of |1 - m|, summed over cells; averaged if ``l1_mean``.
        l1_mean: see ``l1``.
        tv: weight of the total variation, the sum over cells of (|dx|^2 + |dy|^2 + 1e-8)^(power/2).
        power: see ``tv``.
        blur: side of the Gaussian window that blurs the image, in pixels, at least 3.
        blur_sigma: standard deviation of that window, in pixels; if None, it follows from the side.
        mask_blur: side of the Gaussian window that blurs the upsampled mask, in pixels; 1 for no blur.
        jitter: each step sees a random crop of the image, which was enlarged by this number of pixels before.
        start: the value of every cell at the beginning, in [0, 1].
        tolerance: an image is finished when no cell of its mask has moved further than this over ten steps; 0 to make
            all steps. With jitter, masks never converge. The passes that results count are those of the slowest
            image of a batch.
        seed: seed of the jitter.
        free_steps, unrolled_steps: steps of the mask in each step of an attack: first steps without a graph, then steps
            that the attack differentiates (4 and 4 in ADV2's experiments).
        refresh_every: the number of attack steps after which the view solves its mask afresh.
        view_memory: ``fast`` keeps the graphs of all unrolled steps; ``small`` keeps one at a time, and makes each
            unrolled step twice.
    """

    name: ClassVar[str] = "mask"
    family: ClassVar[str] = "mask"

    iterations: int = 300
    learning_rate: Value = Scaled(0.05, 0.1)
    cells: Value = Scaled(8, 28)
    l1: Value = Scaled(1e-3, 1e-4)
    l1_mean: bool = False
    tv: Value = Scaled(1e-1, 1e-2)
    power: float = 3.0
    blur: Value = Scaled(5, 21)
    blur_sigma: Value | None = None
    mask_blur: Value = Scaled(3, 11)
    jitter: Value = Scaled(1, 4)
    start: float = 0.5
    tolerance: float = 0.0
    seed: int = 0
    free_steps: int = 4
    unrolled_steps: int = 4
    refresh_every: int = 50
    view_memory: Literal["fast", "small"] = "fast"

    def __post_init__(self) -> None:
        for name in ("iterations", "unrolled_steps", "refresh_every"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)!r}; expected a whole number, 1 or more.")
        for name in ("free_steps", "tolerance", "l1", "tv", "jitter"):
            if not all(value >= 0 for value in values(getattr(self, name))):
                raise InputError(f"{name} is {getattr(self, name)}; expected 0 or more.")
        for name in ("learning_rate", "cells", "power", "blur", "blur_sigma", "mask_blur"):
            if not all(0 < value < math.inf for value in values(getattr(self, name))):
                raise InputError(f"{name} is {getattr(self, name)}; expected a finite number above 0.")
        if not 0 <= self.start <= 1:
            raise InputError(f"start is {self.start}; expected a number in [0, 1], like all values of a mask.")
        check_choice("view_memory", self.view_memory, ("fast", "small"))

    @classmethod
    def from_argument(cls, argument: str) -> MASK:
        """Make MASK with a named set of parameters: ``current``, ``older``, ``quick``, or ``small`` (little memory)."""
        sets: dict[str, Callable[[], MASK]] = {
            "current": cls,
            "older": cls.older,
            "quick": cls.quick,
            "small": partial(cls, view_memory="small"),
        }
        check_known("set of MASK's parameters", argument, sets)
        return sets[argument]()

    @classmethod
    def quick(cls) -> MASK:
        """Make MASK with parameters for plain drawings: a third of the steps, a wide blur, and a mask that begins at 0.

        With a narrow blur, drawings stay recognisable: blurring hardly lowers the class's probability. The wide blur
        removes shapes as large as the image. Blurring the whole image costs 0.5, half of
        the largest possible probability of the class.
        """
        return cls(
            iterations=100,
            l1=0.5,
            l1_mean=True,
            tv=Scaled(2e-2, 2e-3),
            blur=Scaled(31, 221),
            blur_sigma=Scaled(10, 70),
            start=0.0,
        )

    @classmethod
    def older(cls) -> MASK:
        """Make MASK with the parameters of ADV2's earlier experiments: no jitter, a flat blur, less total variation."""
        return cls(
            iterations=500, l1=1e-2, l1_mean=True, tv=1e-4, blur=Scaled(3, 11), blur_sigma=10.0, mask_blur=1, jitter=0
        )

    def settings(self, height: int, width: int) -> Settings:
        """Compute the parameters for images of ``height`` x ``width`` pixels."""
        side = min(height, width)
        cells = at(self.cells, side) / side
        rows, columns = (max(1, round(cells * length)) for length in (height, width))
        blur, mask_blur = max(3, odd(at(self.blur, side))), odd(at(self.mask_blur, side))
        return Settings(
            height,
            width,
            rows,
            columns,
            blur=blur,
            sigma=usual_sigma(blur) if self.blur_sigma is None else at(self.blur_sigma, side),
            mask_blur=mask_blur,
            mask_sigma=usual_sigma(mask_blur),
            jitter=round(at(self.jitter, side)),
            learning_rate=at(self.learning_rate, side),
            l1=at(self.l1, side) / (rows * columns if self.l1_mean else 1),
            tv=at(self.tv, side),
            power=self.power,
            start=self.start,
        )

    def problem(self, images: Tensor) -> Problem:
        """Return the loss that is minimised for ``images`` N x C x H x W."""
        return problem_of(self.settings(*images.shape[2:]), images.dtype, images.device)

    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        return 1 - solve(
            self.problem(images),
            classifier.run,
            images,
            classes,
            ids,
            seed=self.seed,
            iterations=self.iterations,
            tolerance=self.tolerance,
        )

    def view(self) -> View:
        return MaskView(self)

    def reseeded(self, offset: int = 1) -> MASK | None:
        return replace(self, seed=self.seed + offset) if any(values(self.jitter)) else None

    def sketch(self) -> MASK:
        return replace(self, iterations=2)
