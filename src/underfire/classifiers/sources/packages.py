"""The optional packages that models come from: imported where they are used, and missed with a message that helps."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
from types import ModuleType

import torch

from underfire.errors import InputError

# What torchvision's own extension would declare, which its Python side asks for at import.
_SCHEMAS = {
    "nms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}


def torchvision() -> ModuleType:
    """torchvision, also where its compiled extension does not fit the installed torch: models and transforms need none.

    A build of torchvision for another build of torch (one for CUDA beside one for processors, say) raises "operator
    torchvision::nms does not exist" at import. Declaring the missing operators beforehand is enough.

    Raises:
        InputError: it is not installed, or broken in another way.
    """
    try:
        return _imported("torchvision", "vision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise InputError(f"torchvision cannot be imported: {error}") from error
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _declared()
    return _imported("torchvision", "vision")


@functools.cache
def _declared() -> None:
    """Declares what is missing, once per process."""
    for name, schema in _SCHEMAS.items():
        if not hasattr(torch.ops.torchvision, name):
            torch.library.define(f"torchvision::{name}", schema)


def timm() -> ModuleType:
    """timm, which imports torchvision itself. Raises InputError where one of them is missing."""
    torchvision()
    return _imported("timm", "vision")


def transformers() -> ModuleType:
    """transformers, which imports torchvision where that is there. Raises InputError where it is missing."""
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
