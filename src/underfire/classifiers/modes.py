"""The state in which the passes of a network are made: evaluation mode, and nothing compiled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Context with ``network`` in evaluation mode, and eager even if it, or a part of it, is compiled.

    Compiled code has no second derivative, and hides its layers from rules and taps. Afterwards each of its modules has
    its own mode again.
    """
    modes = [(module, module.training) for module in network.modules()]
    compiled = any(_is_compiled(module) for module, _ in modes)
    try:
        for module, _ in modes:
            _set_mode(module, False)
        with torch.compiler.set_stance("force_eager") if compiled else nullcontext():  # it takes milliseconds
            yield
    finally:
        for module, training in modes:
            _set_mode(module, training)


def _is_compiled(module: nn.Module) -> bool:
    """Return True if ``torch.compile`` made this module, or its ``compile`` was called."""
    return module._compiled_call_impl is not None or "_orig_mod" in module._modules


def _set_mode(module: nn.Module, training: bool) -> None:
    if module.training is not training:  # setting an attribute of a module takes much longer than reading it
        module.training = training
