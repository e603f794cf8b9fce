"""A look, before the first step, at whether an attack can work on a system's maps at all."""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.attacks.benign import Benign
from underfire.attacks.second_order import without_second_derivative
from underfire.batching import padding
from underfire.errors import InterpreterError
from underfire.system import SystemView


def probe_views(view: SystemView, benign: Benign, classes: Tensor) -> None:
    """Differentiate every map once, on a few images.

    Raises:
        InterpreterError: where the network has no second derivative, or where the gradient of the maps is zero: an
            attack on them would do nothing, without a word.
    """
    chosen = padding(min(8, len(benign.images)), benign.images.device)
    images, classes = benign.images[chosen], classes[chosen]
    states = view.begin(images, classes, benign.ids[chosen])
    image = images.clone().requires_grad_()
    passes = view.prepared.forwards, view.prepared.backwards
    try:
        reading, _ = view.read(image, lambda _logits: classes, states, graph=True)
        gradients = {
            name: torch.autograd.grad(_contrast(looks), image, retain_graph=True, allow_unused=True)[0]
            for name, looks in reading.looks.items()
        }
    except RuntimeError as error:
        if "not implemented" not in str(error) and "does not require grad" not in str(error):
            raise
        part = without_second_derivative(view.prepared, images[:2]) or "A part of this network"
        view.prepared.forwards, view.prepared.backwards = passes
        raise InterpreterError(
            f"the maps cannot be differentiated in the image: {error}. {part} has no second derivative. Use its eager "
            "or smooth form (a sigmoid for a hardsigmoid, attention written out for a fused one), or attack "
            "CAM or Grad-CAM."
        ) from error
    view.prepared.forwards, view.prepared.backwards = passes
    for name, gradient in gradients.items():
        if gradient is None or not bool(gradient.any()):
            raise InterpreterError(
                f"the gradient of {name}'s maps is zero everywhere: a joint attack would do nothing. The network's "
                "activations are piecewise linear in a way that the interpreter's view does not smooth."
            )
        if not bool(torch.isfinite(gradient).all()):
            raise InterpreterError(
                f"the gradient of {name}'s maps holds NaN or infinite values; nothing can follow it."
            )


def _contrast(maps: Tensor) -> Tensor:
    """A smooth function of the maps whose gradient vanishes for no ordinary map: squared distance to a ramp."""
    ramp = torch.linspace(0, 1, maps[0].numel(), device=maps.device, dtype=maps.dtype).view_as(maps[0])
    return (maps - ramp).square().sum()
