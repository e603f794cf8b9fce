"""Find the last convolutional features and the head of a network, under the names that its author gave them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from underfire.classifiers import Prepared, share_beside


@dataclass(frozen=True)
class NetworkParts:
    """The parts of a network that interpreters use.

    Args:
        features: the last convolutional features in words; None if there are none.
        head: the linear head in words; None if there is none.
        beside: the share of the logits' gradient that reaches the image beside the features; see ``share_beside``.
        cam_error: the largest difference between the logits and head(mean of the features), relative to the largest
            logit; None if it cannot be computed.
    """

    features: str | None
    head: str | None
    cam_error: float | None
    beside: float = 0.0


def find_parts(prepared: Prepared, images: Tensor) -> NetworkParts:
    """Find the parts of a network by one forward pass of ``images``.

    Args:
        images: N x C x H x W in [0, 1], on the network's device.
    """
    outputs: list[tuple[str, Any]] = []
    inputs: list[tuple[str, Any]] = []
    handles = []
    for name, part in prepared.module.named_modules():
        if not name or isinstance(part, nn.Identity):  # a folded batch norm returns the output of another part
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
    features = _describe_features(recorded.features, outputs, inputs)
    head = _describe_head(prepared, recorded.weight)
    return NetworkParts(features, head, error if math.isfinite(error) else None, share_beside(prepared, images))


def _describe_features(
    features: Tensor | None, outputs: list[tuple[str, Any]], inputs: list[tuple[str, Any]]
) -> str | None:
    if features is None:
        return None
    shape = " x ".join(map(str, features.shape[1:]))
    made = [name for name, value in outputs if value is features]
    taken = [name for name, value in inputs if value is features]
    if made:
        return f"output of {made[-1]}, {shape}"
    return f"input of {taken[0]}, {shape}" if taken else f"a function's output, {shape}"


def _describe_head(prepared: Prepared, weight: Tensor | None) -> str | None:
    if weight is None:
        return None
    shape = f"{weight.shape[1]} -> {weight.shape[0]}"
    if torch.equal(weight, torch.eye(*weight.shape).to(weight)):
        return f"the mean over space of each class's own features, {shape}"
    for name, parameter in prepared.module.named_parameters():
        if parameter.data_ptr() == weight.data_ptr():
            return f"{name.removesuffix('.weight')}, {shape}"
    return f"a function, {shape}"
