"""How the attacks of torchattacks, Foolbox and ART are found and called."""

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
"""Images N x C x H x W in [0, 1] and classes int64 N -> adversarial images."""


class Library(ABC):
    """How one library is called. ``package`` is what pip knows it by, ``free`` one of its attacks without a ball."""

    package: ClassVar[str]
    free: ClassVar[str]

    @staticmethod
    @abstractmethod
    def attacks() -> dict[str, Any]:
        """Its attacks by name."""

    @staticmethod
    def radius(made: Any) -> str | None:
        """What ``made`` calls the radius of its ball among its options; None without a ball. Left out, it would be the
        library's own."""
        return next((name for name in RADII if name in inspect.signature(made.__init__).parameters), None)

    @staticmethod
    @abstractmethod
    def ready(
        made: Any, network: nn.Module, options: dict[str, Any], benign: Benign, goal: Goal, eps: float | None
    ) -> Found:
        """The attack ``made`` on ``network``, as a function."""


RADII = ("eps", "max_epsilon")
NO_OPTION = "the radius"
"""Of an attack that takes its radius when it is called, and not among its options."""


def check_norm(norm: object) -> None:
    """Refuse an attack whose radius is not in L-inf (``inf``, ``Linf``, ``L-inf``), as ``eps`` is."""
    if "inf" not in str(norm).lower():
        raise ValueError(f"its radius is in {norm}, and eps is in L-inf: expected an attack in L-inf, or eps=None")


class Torchattacks(Library):
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
    return inspect.isclass(part) and issubclass(part, base) and part is not base


LIBRARIES: dict[str, type[Library]] = {"art": ART, "foolbox": Foolbox, "torchattacks": Torchattacks}
