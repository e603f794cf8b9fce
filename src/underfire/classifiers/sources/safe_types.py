"""Types beside tensors that a weights file may hold: data of training scripts, which runs no code when it is read."""

from __future__ import annotations

import argparse
import datetime
import importlib
import importlib.util
import pathlib
import types
import typing
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import torch

Named = tuple[Any, str]
"""A class or function, and the full name under which a file refers to it."""

_BUILTIN = (dict, list, tuple, int, float, str, bool)
"""Types that containers hold as the type of their values."""

_OMEGACONF = {
    "omegaconf.dictconfig": ("DictConfig",),
    "omegaconf.listconfig": ("ListConfig",),
    "omegaconf.base": ("ContainerMetadata", "Metadata"),
    "omegaconf.nodes": (
        "AnyNode",
        "BooleanNode",
        "BytesNode",
        "EnumNode",
        "FloatNode",
        "IntegerNode",
        "PathNode",
        "StringNode",
    ),
}


def allowing_harmless_types() -> AbstractContextManager[None]:
    """Context in which torch's reader of weights also accepts the types in ``harmless_types``.

    Types that the caller has allowed before stay allowed afterwards.
    """
    known = set(torch.serialization.get_safe_globals())
    allowed: AbstractContextManager[None] = torch.serialization.safe_globals(
        [each for each in harmless_types() if each not in known]
    )
    return allowed


def harmless_types() -> list[Named]:
    """List the types that may be read: none of them can run code, open a file, or reach the network when it is made."""
    return [*_python(), *_numpy(), *_omegaconf()]


def _python() -> list[Named]:
    paths = [
        (getattr(pathlib, pure), f"{module}.{kind}")  # a path of the other system can only be made as a pure one
        for module in ("pathlib", "pathlib._local")  # Python 3.13 writes the second one
        for kind, pure in (
            ("Path", "PurePath"),
            ("PurePath", "PurePath"),
            ("PosixPath", "PurePosixPath"),
            ("PurePosixPath", "PurePosixPath"),
            ("WindowsPath", "PureWindowsPath"),
            ("PureWindowsPath", "PureWindowsPath"),
        )
    ]
    spaces = (argparse.Namespace, types.SimpleNamespace)
    times = (datetime.datetime, datetime.date, datetime.time, datetime.timedelta, datetime.timezone)
    builtin = [(kind, f"{module}.{kind.__name__}") for module in ("builtins", "__builtin__") for kind in _BUILTIN]
    named = [(kind, f"{kind.__module__}.{kind.__qualname__}") for kind in (*spaces, *times)]
    return [*paths, *builtin, *named, (_dict, "collections.defaultdict")]


def _dict(*_factory: object) -> dict[Any, Any]:
    """Make a plain dict in the place of a defaultdict, which torch's reader cannot fill."""
    return {}


def _numpy() -> list[Named]:
    scalar, array = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    functions = [
        (function, f"numpy.{core}.multiarray.{name}")  # NumPy 1 and 2 write different modules
        for core in ("core", "_core")
        for function, name in ((scalar, "scalar"), (array, "_reconstruct"))
    ]
    plain = [np.dtype(code) for code in np.typecodes["All"] if code != "O"]
    dtypes = {type(dtype): f"numpy.dtypes.{type(dtype).__name__}" for dtype in plain}
    return [*functions, (np.dtype, "numpy.dtype"), (np.ndarray, "numpy.ndarray"), *dtypes.items()]


def _omegaconf() -> list[Named]:
    """The containers of OmegaConf, if it is installed. They are made, and never looked into."""
    if importlib.util.find_spec("omegaconf") is None:
        return []
    found = [
        (getattr(importlib.import_module(module), name), f"{module}.{name}")
        for module, names in _OMEGACONF.items()
        for name in names
        if hasattr(importlib.import_module(module), name)
    ]
    return [*found, (typing.Any, "typing.Any")]
