"""Explanations of why a network cannot be used, or fails on images."""

from __future__ import annotations

import inspect
from itertools import chain
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from underfire.errors import ClassifierError

_SIDES = (96, 128, 224, 299, 384)
"""Usual sides of images, in pixels, that are tried with a network that fails on smaller ones."""

_INTEGER = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.nn.quantized")
"""The packages of torch with layers that compute with integers."""


def check_weights(network: nn.Module) -> None:
    """Check that attacks can compute with the weights of a network.

    Raises:
        ClassifierError: a layer computes with integers, or a weight has no values yet or is sparse.
    """
    for name, part in network.named_modules():
        if type(part).__module__.startswith(_INTEGER):
            raise ClassifierError(
                f"module {name} ({type(part).__name__}) computes with integers, which have no gradient: the network is "
                "quantized. Pass the network with float weights that was quantized."
            )
    for name, value in chain(network.named_parameters(), network.named_buffers()):
        if isinstance(value, UninitializedParameter):
            raise ClassifierError(
                f"weight {name} has no shape yet, because its module is lazy: run the network once on an image, and "
                "load its weights."
            )
        if value.is_meta:
            raise ClassifierError(
                f"weight {name} has no values: it is on the device 'meta'. Load the weights, with "
                "network.to_empty(device='cpu') and network.load_state_dict(...)."
            )
        if value.layout is not torch.strided:
            raise ClassifierError(
                f"weight {name} is sparse ({value.layout}), and attacks need dense weights: convert it with to_dense()."
            )


def network_failure(network: nn.Module, images: Tensor, error: Exception) -> ClassifierError:
    """Make an error that says why ``network`` fails on prepared images N x C x H x W.

    The likely causes are tried: inputs beside the images, another dtype than the weights have, another order of the
    dimensions, other channels, too many images at once, too small images.
    """
    count, channels = images.shape[:2]
    shape = " x ".join(map(str, images.shape[1:]))
    fails = f"{type(network).__name__} fails on images of {shape} (channels x height x width)"
    torchs = f"{type(error).__name__}: {error}"
    others = _other_inputs(network)
    if others:
        return ClassifierError(
            f"{fails}: its forward needs {' and '.join(others)} beside the images ({torchs}). Expected a network of "
            "images alone: wrap it in a module whose forward takes them, and calls it with fixed values of the rest."
        )
    if mixed := _mixed_types(network, images):
        return ClassifierError(
            f"{fails}: {mixed} ({torchs}). Attacks run on a copy with float32 weights. Expected a forward that "
            "converts to the dtype of its weights, as in x.to(self.conv1.weight.dtype), or not at all."
        )
    if _runs(network, images.permute(0, 2, 3, 1)):
        return ClassifierError(
            f"{fails}, and takes images of height x width x channels ({torchs}). Expected a network for N x C x H x W: "
            "wrap it in a module whose forward calls it with images.permute(0, 2, 3, 1)."
        )
    convolution = next((part for part in network.modules() if isinstance(part, nn.Conv2d)), None)
    if convolution is not None and convolution.in_channels != channels:
        return ClassifierError(
            f"{fails}: its first convolution takes {convolution.in_channels} channels, and the images have {channels} "
            f"({torchs}). Does the classifier say which channels it takes?"
        )
    if count > 1 and _runs(network, images[:1]):
        return ClassifierError(
            f"{fails} if there are {count} at once, and takes a single one ({torchs}). Expected a network for batches "
            "of any size: wrap it in a module whose forward splits the batch."
        )
    for side in _SIDES:
        if side > min(images.shape[2:]) and _runs(network, F.interpolate(images[:1], size=(side, side))):
            return ClassifierError(
                f"{fails}, and takes images of {side} x {side} ({torchs}). They are too small for its layers, or it is "
                f"made for one size: give the size that it was trained on, such as image_size={side}."
            )
    return ClassifierError(f"{fails}: {torchs}. Does the classifier say which image_size and channels it takes?")


def _runs(network: nn.Module, images: Tensor) -> bool:
    """Return True if the network accepts these images."""
    try:
        with torch.no_grad():
            network(images)
    except Exception:  # the user's own network, which may raise anything
        return False
    return True


def _other_inputs(network: nn.Module) -> list[str]:
    """Return the names of the inputs, beside the first, that the network's forward cannot do without."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    keyword = inspect.Parameter.KEYWORD_ONLY
    try:
        parameters = list(inspect.signature(network.forward).parameters.values())
    except (TypeError, ValueError):  # a forward that is not written in Python has no signature
        return []
    needed = [each for each in parameters if each.default is inspect.Parameter.empty and each.kind in (*kinds, keyword)]
    images = next((each for each in parameters if each.kind in kinds), None)
    return [each.name for each in needed if each is not images]


def _mixed_types(network: nn.Module, images: Tensor) -> str:
    """Name the first layer whose input has another floating-point type than its weights; empty if there is none."""
    found: list[str] = []

    def look(name: str, part: nn.Module, given: tuple[Any, ...]) -> None:
        weights = [value.dtype for value in part.parameters(recurse=False) if value.is_floating_point()]
        inputs = [value.dtype for value in given if isinstance(value, Tensor) and value.is_floating_point()]
        if weights and inputs and inputs[0] not in weights and not torch.is_autocast_enabled(images.device.type):
            taken, own = (str(dtype).removeprefix("torch.") for dtype in (inputs[0], weights[0]))
            found.append(f"{name} gets {taken}, and its weights are {own} here")

    handles = [
        part.register_forward_pre_hook(lambda part, given, name=name: look(name, part, given))
        for name, part in network.named_modules()
    ]
    try:
        _runs(network, images)
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else ""
