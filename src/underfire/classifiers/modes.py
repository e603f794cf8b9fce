"""The state in which the passes of a network are made: evaluation mode, and nothing compiled."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Context with ``network`` in evaluation mode, and eager even if it, or a part or a function of it, is compiled.

    Compiled code has no second derivative, and hides its layers from rules and taps. Afterwards each of its modules has
    its own mode again.
    """
    modes = [(module, module.training) for module in network.modules()]
    try:
        for module, _ in modes:
            _set_mode(module, False)
        with eagerly():
            yield
    finally:
        for module, training in modes:
            _set_mode(module, training)


def eagerly() -> AbstractContextManager[Any]:
    """Context in which compiled modules, and functions that a forward calls, run as they were before the compiler.

    Nothing can be compiled as long as the compiler was not imported, and its import takes seconds. While a user's own
    code around a classifier is being compiled, nothing changes: the compiler refuses to trace a change of its stance.
    """
    if "torch._dynamo" not in sys.modules or torch.compiler.is_compiling():
        return nullcontext()
    found: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return found


def _set_mode(module: nn.Module, training: bool) -> None:
    if module.training is not training:  # setting an attribute of a module takes much longer than reading it
        module.training = training
