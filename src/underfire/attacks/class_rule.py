"""The contract of rules for target classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from underfire.attacks.benign import Benign
from underfire.system import SystemView
from underfire.user_parts import Part


@dataclass(frozen=True)
class Choice:
    """The choice of a rule for N images.

    Args:
        classes: the target classes, int64 N.
        probabilities: the class probabilities N x K that the images shall get, for terms that look at them (``match``);
            None if the rule wants none.
    """

    classes: Tensor
    probabilities: Tensor | None = None


class ClassRule(Part, ABC):
    """A rule that gives each image a class other than its own."""

    name: ClassVar[str]
    needs_images: ClassVar[bool] = True
    """False if the rule looks at labels and ids alone; a run can then plan targets without reading images."""
    needs_maps: ClassVar[bool] = True
    """False if the rule does not look at benign maps; a run can then plan targets without reading maps."""

    @abstractmethod
    def classes(self, view: SystemView, benign: Benign, seed: int) -> Tensor:
        """Choose the target classes, int64 N.

        Args:
            view: the system, differentiable, for rules that look for a class with passes of their own.
            benign: the images, and what the system honestly says about them.
            seed: of random draws.
        """

    def choose(self, view: SystemView, benign: Benign, seed: int) -> Choice:
        """Choose the target classes, and the class probabilities that belong to them if there are any.

        Arguments as for ``classes``.
        """
        return Choice(self.classes(view, benign, seed))
