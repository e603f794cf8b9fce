"""Interpreters: attribution maps for a classifier's decision, and the views that attacks differentiate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from inspect import getattr_static
from typing import Any, TypeGuard

from underfire import user_files
from underfire.arguments import check_known
from underfire.errors import InputError, UnderfireError, UserCodeError, unknown_name
from underfire.interpreters.attention import Attention, Rollout
from underfire.interpreters.attnlrp import AttnLRP
from underfire.interpreters.averaged import IntegratedGradients, SmoothGrad
from underfire.interpreters.base import Interpreter, State, View
from underfire.interpreters.cam import CAM
from underfire.interpreters.captum import Captum, methods
from underfire.interpreters.certified import SparsifiedSmoothGrad
from underfire.interpreters.chefer import Chefer
from underfire.interpreters.chefer_lrp import CheferLRP
from underfire.interpreters.ensemble import Ensemble
from underfire.interpreters.grad import Grad
from underfire.interpreters.gradcam import GradCAM, GradCAMPlusPlus, LayerCAM
from underfire.interpreters.lrp import LRP
from underfire.interpreters.mask import MASK
from underfire.interpreters.mask_settings import Scaled
from underfire.interpreters.median import MedianGrad
from underfire.interpreters.rts import RTS
from underfire.interpreters.smoothing import Smoothing, SmoothRectifiers
from underfire.registry import Registry, makers_of

Maker = type[Interpreter] | Callable[[], Interpreter]
"""A class of interpreters, or a function without arguments that returns an interpreter."""


def _is_class(value: object) -> TypeGuard[type[Interpreter]]:
    return isinstance(value, type) and issubclass(value, Interpreter)


REGISTRY: Registry[Maker] = Registry(
    "interpreter",
    "underfire.interpreters",
    {
        "attention": Attention,
        "attnlrp": AttnLRP,
        "cam": CAM,
        "chefer": Chefer,
        "chefer-lrp": CheferLRP,
        "grad": Grad,
        "gradcam": GradCAM,
        "gradcam++": GradCAMPlusPlus,
        "ig": IntegratedGradients,
        "layercam": LayerCAM,
        "lrp": LRP,
        "mask": MASK,
        "metfa": MedianGrad,
        "rollout": Rollout,
        "rts": RTS,
        "smoothgrad": SmoothGrad,
        "sparsified": SparsifiedSmoothGrad,
    },
    makers_of(Interpreter),
)
"""Interpreters by name: what ``--interpreter`` and ``System`` take."""

ONLY_WITH_ARGUMENT: dict[str, type[Interpreter]] = {"captum": Captum, "ensemble": Ensemble}
"""Interpreters that need an argument after a colon, such as ``captum:Lime`` and ``ensemble:cam+grad``."""
_EXAMPLES = {"captum": "captum:Lime", "ensemble": Ensemble.example}


def create(name: str, variant: str = "paper") -> Interpreter:
    """Make the interpreter called ``name``: a known name in any case of letters, or ``file.py:name``.

    An argument may follow a known name after a colon: ``rts:FOLDER`` or ``rts:file.py:function`` for a masker of your
    own, ``mask:older`` for MASK with the parameters of earlier experiments, ``lrp:z+`` for a rule, ``attnlrp:values``
    for relevance through the values of attention alone, ``rollout:max:0.9`` for a fusion of heads and a share to
    discard, ``captum:Lime`` for a method of captum, ``ensemble:cam+grad``
    for the mean of several maps (``ensemble:rank:...`` and ``ensemble:median:...`` for others).

    Args:
        variant: ``paper`` for default parameters, ``published`` for those of the published experiments.

    Raises:
        InputError: there is no such interpreter, or no such argument.
        UserCodeError: the user's file raises an error.
    """
    check_known("variant", variant, ("paper", "published"))
    if _is_file(name):
        maker, argument = REGISTRY.find(name), ""
    else:
        key, argument = _parts(name)
        maker = ONLY_WITH_ARGUMENT.get(key) or REGISTRY[key]
    if maker is Ensemble:
        return Ensemble.parse(argument, lambda part: create(part, variant))
    made = maker.from_argument(argument) if argument and _is_class(maker) else _made(maker, name, variant)
    for file, _ in user_files.named_in(name):
        object.__setattr__(made, "code_sha256", user_files.fingerprint(file))  # interpreters are frozen
    return made


def _made(maker: Maker, name: str, variant: str) -> Interpreter:
    """Call a maker, which may be the user's own."""
    try:
        made = maker.published() if variant == "published" and _is_class(maker) else maker()
    except UnderfireError:
        raise
    except Exception as error:  # a user's own class or function, which may raise anything
        raise UserCodeError(f"interpreter {name!r} cannot be made: {type(error).__name__}: {error}") from error
    if not isinstance(made, Interpreter):
        raise InputError(
            f"interpreter is {name!r}, which makes an object of type {type(made).__name__}; expected an Interpreter."
        )
    return made


def canonical(name: str) -> str:
    """Return the standard spelling of a name that ``create`` takes. ``file.py:name`` stays as it is.

    Raises:
        InputError: there is no such interpreter, or it takes no argument.
    """
    if _is_file(name):
        return name
    key, argument = _parts(name)
    return f"{key}:{argument}" if argument else key


def _is_file(name: str) -> bool:
    """Return True for ``file.py:name``; False if a known name stands before the file, as in ``rts:file.py:name``."""
    return user_files.split(name) is not None and _known_as(name.partition(":")[0]) is None


def _known_as(kind: str) -> str | None:
    """Return the registered name that ``kind`` is in any spelling; None if it is unknown."""
    known = [*REGISTRY, *ONLY_WITH_ARGUMENT]
    return kind if kind in known else {_plain(each): each for each in known}.get(_plain(kind))


def _parts(name: str) -> tuple[str, str]:
    """Split a name into the registry's key and the argument after the colon. Raises InputError if it is unknown."""
    kind, _, argument = name.partition(":")
    if "," in kind:
        raise InputError(f"interpreter is {name!r}; for several give a list of names: {name.split(',')}.")
    key = _known_as(kind)
    if key is None:
        raise unknown_name("interpreter", kind, (*REGISTRY, *ONLY_WITH_ARGUMENT, *_of_captum(_plain(kind))))
    if key in ONLY_WITH_ARGUMENT:
        if not argument:
            raise InputError(
                f"interpreter is {name!r}; {key} needs an argument after a colon, such as {_EXAMPLES[key]}."
            )
    elif argument and not _takes_argument(REGISTRY[key]):
        raise InputError(f"interpreter is {name!r}; {key} takes nothing after a colon: expected {key!r}.")
    return key, argument


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _takes_argument(maker: Maker) -> bool:
    """Return True if the interpreter has a ``from_argument`` of its own."""
    inherited = getattr_static(Interpreter, "from_argument")
    return _is_class(maker) and getattr_static(maker, "from_argument") is not inherited


def _of_captum(plain: str) -> list[str]:
    """Return the name of captum's method that is spelled ``plain`` without case and hyphens, if there is one."""
    try:
        return [f"captum:{method}" for method in methods() if method.lower() == plain]
    except ImportError:
        return []


def listed(argument: str, parts: Interpreter | str | Iterable[Interpreter | str]) -> list[Interpreter | str]:
    """Return one or several interpreters as a list. Raises InputError for a mapping, whose values would be lost."""
    if isinstance(parts, Mapping):
        raise InputError(f"{argument} is a mapping ({', '.join(map(str, parts))}); expected a list of interpreters.")
    return [parts] if not isinstance(parts, Iterable) or isinstance(parts, str) else list(parts)


def named(parts: Iterable[Any], variant: str = "paper") -> dict[str, Interpreter]:
    """Make several interpreters, in a dictionary by their names in results.

    That name is the label. If several with one label are asked for by name, each is called as it is written (``lrp``,
    ``lrp:z+``). What an interpreter is called changes no random number: those are drawn under its label.

    Args:
        parts: interpreters, and names as ``create`` takes them.
        variant: as ``create`` takes it, for names.

    Raises:
        InputError: a part is no interpreter, or two would have one name.
    """
    made = [(part, made_of(part, variant)) for part in parts]
    labels = Counter(interpreter.label for _, interpreter in made)
    found: dict[str, Interpreter] = {}
    for part, interpreter in made:
        several = labels[interpreter.label] > 1 and isinstance(part, str)
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
    """Return the interpreter that ``part`` stands for: itself, or the one of that name. Raises InputError."""
    if isinstance(part, Interpreter):
        return _with_label(part)
    if isinstance(part, str):
        return _with_label(create(part, variant))
    if _is_class(part):
        raise InputError(
            f"interpreters holds the class {part.__name__}; expected an interpreter, which is made by calling it: "
            f"{part.__name__}()."
        )
    raise InputError(
        f"interpreters holds an object of type {type(part).__name__}; expected an interpreter, such as CAM(), or the "
        "name of one."
    )


def _with_label(interpreter: Interpreter) -> Interpreter:
    """Return an interpreter that has a name."""
    label = getattr(interpreter, "label", None)
    if not isinstance(label, str) or not label.strip():
        raise InputError(
            f"interpreters holds a {type(interpreter).__name__} with the label {label!r}; expected a text that is not "
            "empty: give its class the attribute name, such as name = 'mine'."
        )
    return interpreter


__all__ = [
    "CAM",
    "LRP",
    "MASK",
    "ONLY_WITH_ARGUMENT",
    "REGISTRY",
    "RTS",
    "Attention",
    "AttnLRP",
    "Captum",
    "Chefer",
    "CheferLRP",
    "Ensemble",
    "Grad",
    "GradCAM",
    "GradCAMPlusPlus",
    "IntegratedGradients",
    "Interpreter",
    "LayerCAM",
    "MedianGrad",
    "Rollout",
    "Scaled",
    "SmoothGrad",
    "SmoothRectifiers",
    "Smoothing",
    "SparsifiedSmoothGrad",
    "State",
    "View",
    "canonical",
    "create",
    "listed",
    "made_of",
    "named",
]
