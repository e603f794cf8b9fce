"""Where the last convolutional features and the head are, by the names that the network's author gave them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from underfire.classifiers import Prepared


@dataclass(frozen=True)
class Parts:
    """``features`` and ``head`` in words, None where there are none; ``cam_error`` is how far the logits are from
    head(mean of the features), relative to their size; None where that has no meaning."""

    features: str | None
    head: str | None
    cam_error: float | None


def find_parts(prepared: Prepared, images: Tensor) -> Parts:
    """The parts that one forward pass of ``images`` shows.

    Args:
        images: N x C x H x W on the network's device.
    """
    outputs: list[tuple[str, Any]] = []
    inputs: list[tuple[str, Any]] = []
    handles = []
    for name, part in prepared.module.named_modules():
        if not name or isinstance(part, nn.Identity):  # a folded batch norm passes on what is another's
            continue
        handles.append(part.register_forward_hook(lambda _p, _g, out, name=name: outputs.append((name, out))))
        handles.append(
            part.register_forward_pre_hook(lambda _p, given, name=name: inputs.extend((name, each) for each in given))
        )
    try:
        with torch.no_grad():
            recorded = prepared.record(images)
    finally:
        for handle in handles:
            handle.remove()
    error = recorded.cam_error()
    features = _features(recorded.features, outputs, inputs)
    return Parts(features, _head(prepared, recorded.weight), error if math.isfinite(error) else None)


def _features(features: Tensor | None, outputs: list[tuple[str, Any]], inputs: list[tuple[str, Any]]) -> str | None:
    if features is None:
        return None
    shape = " x ".join(map(str, features.shape[1:]))
    made = [name for name, value in outputs if value is features]
    taken = [name for name, value in inputs if value is features]
    if made:
        return f"output of {made[-1]}, {shape}"
    return f"input of {taken[0]}, {shape}" if taken else f"a function's output, {shape}"


def _head(prepared: Prepared, weight: Tensor | None) -> str | None:
    if weight is None:
        return None
    shape = f"{weight.shape[1]} -> {weight.shape[0]}"
    for name, parameter in prepared.module.named_parameters():
        if parameter.data_ptr() == weight.data_ptr():
            return f"{name.removesuffix('.weight')}, {shape}"
    return f"a function, {shape}"
