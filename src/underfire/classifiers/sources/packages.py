"""Imports of the optional packages that models come from, with a helpful message if one is missing."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from contextlib import suppress
from types import ModuleType

import torch

from underfire.errors import InputError

# The operators that torchvision's compiled extension declares, and that its Python side needs at import.
_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def torchvision() -> ModuleType:
    """Import torchvision, even if its compiled extension does not fit the installed torch.

    A torchvision build for another build of torch, such as one for CUDA beside a torch for CPUs, misses operators at
    import and raises RuntimeError. Its models and transforms do not need them, so declaring them is enough. They are
    declared only if they are missing, because a second declaration would abort the process.

    Raises:
        InputError: torchvision is not installed, or broken in another way.
    """
    try:
        return _imported("torchvision", "vision")
    except RuntimeError as error:
        missing = [name for name in _SCHEMAS if not hasattr(torch.ops.torchvision, name)]
        if not missing:
            raise InputError(f"torchvision cannot be imported: {error}") from error
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    for name in missing:
        torch.library.define(f"torchvision::{name}", _SCHEMAS[name])
    try:
        return _imported("torchvision", "vision")
    except RuntimeError as error:
        raise InputError(f"torchvision cannot be imported: {error}") from error


def torchvision_mended() -> bool:
    """Return True if torchvision could not be imported, and can be from now on; see ``torchvision``.

    A user's file that imports torchvision, or timm, may then be tried again.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError:  # it does not fit torch; other faults cannot be mended
        with suppress(InputError):
            torchvision()
            return True
    except Exception:  # it may raise anything; the user's file has told already what is wrong
        return False
    return False


def timm() -> ModuleType:
    """Import timm, which imports torchvision itself. Raises InputError if one of them is missing."""
    torchvision()
    return _imported("timm", "vision")


def transformers() -> ModuleType:
    """Import transformers, which imports torchvision if that is installed. Raises InputError if it is missing."""
    if importlib.util.find_spec("torchvision") is not None:
        torchvision()
    return _imported("transformers", "hub")


def _imported(name: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        why = "is not installed" if error.name == name else f"cannot be imported: {error}"
        raise InputError(
            f"{name} {why}. Install it with pip install 'underfire[{extra}]'; where torch must stay as it is, with pip "
            f"install --no-deps {name}."
        ) from error
