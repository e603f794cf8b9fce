"""Interpreters: attribution maps for a classifier's decision, and the views that attacks differentiate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from underfire.errors import InputError, unknown_name
from underfire.interpreters.averaged import IntegratedGradients, SmoothGrad
from underfire.interpreters.base import Interpreter, State, View
from underfire.interpreters.cam import CAM
from underfire.interpreters.captum import Captum, methods
from underfire.interpreters.grad import Grad
from underfire.interpreters.gradcam import GradCAM, GradCAMPlusPlus, LayerCAM
from underfire.interpreters.lrp import LRP
from underfire.interpreters.mask import MASK
from underfire.interpreters.mask_settings import Scaled
from underfire.interpreters.rts import RTS
from underfire.interpreters.smoothing import Smoothing, SmoothRectifiers

REGISTRY: dict[str, Callable[[], Interpreter]] = {
    "cam": CAM,
    "grad": Grad,
    "gradcam": GradCAM,
    "gradcam++": GradCAMPlusPlus,
    "ig": IntegratedGradients,
    "layercam": LayerCAM,
    "lrp": LRP,
    "mask": MASK,
    "rts": RTS,
    "smoothgrad": SmoothGrad,
}

# What may follow an interpreter's name after a colon: the interpreter for it.
ARGUMENTS: dict[str, Callable[[str], Interpreter]] = {
    "captum": Captum,
    "lrp": LRP.called,
    "mask": MASK.called,
    "rts": RTS,
}

# As the published experiments had them, where that is not our default.
PUBLISHED: dict[str, Callable[[], Interpreter]] = {"grad": lambda: Grad(view_pixels="normalised")}


def create(name: str, variant: str = "paper") -> Interpreter:
    """The interpreter called ``name`` (a key of ``REGISTRY``, in any case) with its default parameters, or with those
    of the published experiments where ``variant`` is ``published``.

    An argument may follow the name after a colon: ``rts:FOLDER`` for a masker of one's own, ``mask:older`` for MASK
    with the parameters of earlier experiments, ``lrp:z+`` for a rule, ``captum:Lime`` for a method of captum.
    """
    key, argument = _parts(name)
    if variant not in ("paper", "published"):
        raise unknown_name("preset variant", variant, ("paper", "published"))
    if argument:
        return ARGUMENTS[key](argument)
    return ((PUBLISHED if variant == "published" else {}).get(key) or REGISTRY[key])()


def named(parts: Iterable[Any], variant: str = "paper") -> dict[str, Interpreter]:
    """Several interpreters by the name that results give them: their label, and where several with one label are
    asked for by name, each as it is written (``lrp``, ``lrp:z+``).

    Args:
        parts: interpreters, and names as ``create`` takes them.

    Raises:
        InputError: what is no interpreter, or two that would have one name.
    """
    made = [(part, made_of(part, variant)) for part in parts]
    kinds = Counter(interpreter.label for _, interpreter in made)
    found: dict[str, Interpreter] = {}
    for part, interpreter in made:
        several = kinds[interpreter.label] > 1 and isinstance(part, str)
        name = canonical(part) if several else interpreter.label
        if name in found and several:
            raise InputError(f"interpreters holds {name!r} twice: once is enough.")
        if name in found:
            raise InputError(
                f"interpreters has two of one kind ({[one.name for _, one in made]}); give them names with a mapping: "
                "{'fine': Grad(pool=1), 'coarse': Grad(pool=4)}."
            )
        found[name] = interpreter
    return found


def made_of(part: Any, variant: str = "paper") -> Interpreter:
    """The interpreter that a user's ``part`` stands for: itself, or what is called so. Raises InputError."""
    if isinstance(part, Interpreter):
        return part
    if isinstance(part, str):
        return create(part, variant)
    if isinstance(part, type) and issubclass(part, Interpreter):
        raise InputError(
            f"interpreters holds the class {part.__name__}; expected an interpreter, which is made by calling it: "
            f"{part.__name__}()."
        )
    raise InputError(
        f"interpreters holds an object of type {type(part).__name__}; expected an interpreter, such as CAM(), or the "
        "name of one."
    )


def canonical(name: str) -> str:
    """The one way to write what ``create`` takes."""
    key, argument = _parts(name)
    return f"{key}:{argument}" if argument else key


def _of_captum(key: str) -> list[str]:
    """How captum's method called ``key``, in any case, is asked for."""
    try:
        return [f"captum:{method}" for method in methods() if method.lower() == key]
    except ImportError:
        return []


def _parts(name: str) -> tuple[str, str]:
    """The registry's key, and what follows the colon. Raises InputError for what ``create`` does not know."""
    kind, _, argument = name.partition(":")
    if "," in kind:
        raise InputError(f"interpreter is {name!r}; for several give a list of names: {name.split(',')}.")
    key = kind.lower().replace("-", "").replace("_", "")
    if key not in REGISTRY and key not in ARGUMENTS:
        raise unknown_name("interpreter", kind, (*REGISTRY.keys() | ARGUMENTS.keys(), *_of_captum(key)))
    if key not in REGISTRY and not argument:
        raise InputError(f"interpreter is {name!r}; expected what is meant by it after a colon, such as captum:Lime.")
    if argument and key not in ARGUMENTS:
        raise InputError(f"interpreter is {name!r}; {key} takes nothing after a colon: expected {key!r}.")
    return key, argument


__all__ = [
    "ARGUMENTS",
    "CAM",
    "LRP",
    "MASK",
    "PUBLISHED",
    "REGISTRY",
    "RTS",
    "Captum",
    "Grad",
    "GradCAM",
    "GradCAMPlusPlus",
    "IntegratedGradients",
    "Interpreter",
    "LayerCAM",
    "Scaled",
    "SmoothGrad",
    "SmoothRectifiers",
    "Smoothing",
    "State",
    "View",
    "canonical",
    "create",
    "made_of",
    "named",
]
