"""Find and call the attacks of torchattacks, Foolbox and ART."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from underfire.attacks.benign import Benign
from underfire.attacks.goal import Goal

Found = Callable[[Tensor, Tensor], Tensor]
"""A function of images N x C x H x W in [0, 1] and classes int64 N that returns adversarial images."""


class Library(ABC):
    """The interface to one library.

    Class attributes:
        package: the names for ``pip install``.
        free: an attack of the library that has no ball, as an example for messages.
    """

    package: ClassVar[str]
    free: ClassVar[str]

    @staticmethod
    @abstractmethod
    def attacks() -> dict[str, Any]:
        """List the library's attacks by name. Raises ImportError if the library is missing."""

    @staticmethod
    def radius(made: Any) -> str | None:
        """Return the name of the radius option of the attack ``made``; None if the attack has no ball."""
        return next((name for name in RADII if name in inspect.signature(made.__init__).parameters), None)

    @staticmethod
    @abstractmethod
    def ready(
        made: Any, network: nn.Module, options: dict[str, Any], benign: Benign, goal: Goal, eps: float | None
    ) -> Found:
        """Make a function that runs the attack class ``made`` on ``network``.

        Raises:
            TypeError, ValueError: the library does not accept ``options``, or the goal.
        """


RADII = ("eps", "max_epsilon")
"""The names of the option with the radius."""

NO_OPTION = "the radius"
"""The name of a radius that is given to a call of the attack, and is no option."""


def check_norm(norm: object) -> None:
    """Raise ValueError if ``norm`` is not L-inf (``inf``, ``Linf``, ``L-inf``), the norm of ``eps``."""
    if "inf" not in str(norm).lower():
        raise ValueError(f"its radius is in {norm}, and eps is in L-inf: expected an attack in L-inf, or eps=None")


class Torchattacks(Library):
    """Finds and calls the attacks of torchattacks (Kim 2020)."""

    package = "torchattacks"
    free = "torchattacks:CW"

    @staticmethod
    def attacks() -> dict[str, Any]:
        import torchattacks

        base = torchattacks.attack.Attack
        return {name: part for name, part in vars(torchattacks).items() if _derived(part, base)}

    @staticmethod
    def ready(
        made: Any, network: nn.Module, options: dict[str, Any], benign: Benign, goal: Goal, eps: float | None
    ) -> Found:
        if eps is not None:
            check_norm(options.get("norm", "L2" if made.__name__.endswith("L2") else "Linf"))
        own = made(network, **options)
        own.set_device(benign.images.device)
        if goal.targeted:
            own.set_mode_targeted_by_label(quiet=True)
        return lambda images, classes: own(images, classes)


class Foolbox(Library):
    """Finds and calls the attacks of Foolbox (Rauber et al. 2017)."""

    package = "foolbox eagerpy"
    free = "foolbox:L2CarliniWagnerAttack"

    @staticmethod
    def attacks() -> dict[str, Any]:
        import foolbox

        base = foolbox.attacks.Attack
        return {name: part for name, part in vars(foolbox.attacks).items() if _derived(part, base)}

    @staticmethod
    def radius(made: Any) -> str | None:
        from foolbox.attacks.base import FixedEpsilonAttack

        return NO_OPTION if issubclass(made, FixedEpsilonAttack) else None

    @staticmethod
    def ready(
        made: Any, network: nn.Module, options: dict[str, Any], benign: Benign, goal: Goal, eps: float | None
    ) -> Found:
        import foolbox

        model = foolbox.PyTorchModel(network, bounds=(0, 1), device=benign.images.device)
        own = made(**options)
        norm = getattr(getattr(own, "distance", None), "p", None)
        if eps is not None and norm is not None:
            check_norm(f"L{norm:g}")
        criterion = foolbox.criteria.TargetedMisclassification if goal.targeted else None

        def find(images: Tensor, classes: Tensor) -> Tensor:
            wanted = (criterion or foolbox.criteria.Misclassification)(classes)
            result: Tensor = own(model, images, wanted, epsilons=eps)[1]
            return result

        return find


class ART(Library):
    """Finds and calls the attacks of the Adversarial Robustness Toolbox (Nicolae et al. 2018)."""

    package = "adversarial-robustness-toolbox"
    free = "art:CarliniL2Method"

    @staticmethod
    def attacks() -> dict[str, Any]:
        from art.attacks import EvasionAttack, evasion

        return {name: part for name, part in vars(evasion).items() if _derived(part, EvasionAttack)}

    @staticmethod
    def ready(
        made: Any, network: nn.Module, options: dict[str, Any], benign: Benign, goal: Goal, eps: float | None
    ) -> Found:
        from art.estimators.classification import PyTorchClassifier

        device, classes = benign.images.device, benign.logits.shape[1]
        model = PyTorchClassifier(
            network,
            nn.CrossEntropyLoss(),
            tuple(benign.images.shape[1:]),
            classes,
            clip_values=(0.0, 1.0),
            device_type="gpu" if device.type == "cuda" else "cpu",
        )
        if goal.targeted and "targeted" not in inspect.signature(made.__init__).parameters:
            raise ValueError("it has no targeted form; attack untargeted")
        if eps is not None:
            check_norm(options.get("norm", "inf") if "norm" in inspect.signature(made.__init__).parameters else "inf")
        own = made(model, **options)

        def find(images: Tensor, wanted: Tensor) -> Tensor:
            one_hot = torch.nn.functional.one_hot(wanted, classes).float().cpu().numpy()
            return torch.from_numpy(np.asarray(own.generate(images.cpu().numpy(), one_hot)))

        return find


def _derived(part: object, base: type) -> bool:
    """Return True if ``part`` is a subclass of ``base``, and not ``base`` itself."""
    return inspect.isclass(part) and issubclass(part, base) and part is not base


LIBRARIES: dict[str, type[Library]] = {"art": ART, "foolbox": Foolbox, "torchattacks": Torchattacks}
