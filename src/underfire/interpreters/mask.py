"""MASK: the smallest part of the image without which the class is lost (Fong & Vedaldi 2017)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor

from underfire.classifiers import Classifier
from underfire.errors import InputError, unknown_name
from underfire.interpreters.base import Interpreter, View
from underfire.interpreters.mask_problem import Problem, problem_of
from underfire.interpreters.mask_settings import Scaled, Settings, Value, at, odd, usual_sigma, values
from underfire.interpreters.mask_solver import solve
from underfire.interpreters.mask_view import MaskView


@dataclass(frozen=True)
class MASK(Interpreter):
    """1 - m for the mask m that minimises p_c(x m + blur(x) (1 - m)) + l1 |1 - m|_1 + tv TV(m) (Fong & Vedaldi 2017).

    Maps are in [0, 1] as they are solved, without min-max: 1 where a pixel must be blurred for the class to be lost.
    The defaults are the parameters of ADV2's experiments; ``older`` has those of its earlier ones. The solver is
    noisy in itself: another ``seed`` gives other maps of the same image, and that distance is the floor beside which
    any distance between its maps must be read.

    Args:
        iterations: steps of Adam.
        learning_rate: of Adam.
        cells: side of the mask along the image's short side.
        l1: weight of |1 - m|, summed over cells, or averaged where ``l1_mean``.
        tv: weight of the total variation, the sum over cells of (|dx|^2 + |dy|^2 + 1e-8)^(power/2).
        blur: side of the Gaussian window that blurs the image, in pixels, at least 3; ``blur_sigma`` its standard
            deviation, by the window's size where None.
        mask_blur: side of the window that blurs the upsampled mask; 1 for none.
        jitter: pixels by which the image is enlarged before each step takes a random crop of it.
        start: every cell at the beginning.
        tolerance: an image is finished when no cell of its mask moved further over ten steps; 0 to run all. Under
            jitter masks never rest, so that this serves parameters without. Passes that an attack counts are then
            those of the batch: of its slowest image.
        seed: of the jitter.
        free_steps, unrolled_steps: what the attack's view does to its mask in each step of the attack: steps without a
            graph, then steps through which it differentiates (4 and 4 in [ADV2]'s experiments).
        refresh_every: steps of the attack after which the view's mask is solved afresh.
        view_memory: ``fast`` keeps the graph of all unrolled steps, ``small`` one at a time, and makes
            each of those steps twice.

    Parameters given as ``Scaled(small, large)`` belong to images of 32 and 224 pixels and are interpolated for others;
    a number holds for every size.
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
            raise InputError(f"start is {self.start}; a mask lies in [0, 1].")
        if self.view_memory not in ("fast", "small"):
            raise InputError(f"view_memory is {self.view_memory!r}; expected 'fast' or 'small'.")

    @classmethod
    def from_argument(cls, argument: str) -> MASK:
        """Make MASK with a named set of parameters: ``current``, ``older``, ``quick``, or ``small`` (little memory)."""
        sets: dict[str, Callable[[], MASK]] = {
            "current": cls,
            "older": cls.older,
            "quick": cls.quick,
            "small": partial(cls, view_memory="small"),
        }
        if argument not in sets:
            raise unknown_name("set of MASK's parameters", argument, sets)
        return sets[argument]()

    @classmethod
    def quick(cls) -> MASK:
        """For a look at plain drawings: a third of the solver's steps, from an image that is blurred all over.

        The blur takes away what is as large as the image, and a whole image costs half of what its class is worth. A
        narrow blur leaves drawings recognisable, and where nothing is lost by halves nothing pulls at the mask.
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
        """The parameters of [ADV2]'s earlier experiments: no jitter, a flat blur, weaker total variation."""
        return cls(
            iterations=500, l1=1e-2, l1_mean=True, tv=1e-4, blur=Scaled(3, 11), blur_sigma=10.0, mask_blur=1, jitter=0
        )

    def settings(self, height: int, width: int) -> Settings:
        """The parameters for images of ``height`` x ``width`` pixels."""
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
        """What is minimised for ``images`` N x C x H x W."""
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
