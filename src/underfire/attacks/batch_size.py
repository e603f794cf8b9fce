"""The batch size of an attack: as many images as suit the device, and as fit into its memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from underfire.batching import MULTIPLE
from underfire.errors import InputError, UnderfireError
from underfire.memory import counting, in_words, room, suited_size
from underfire.system import SystemView

PROBED = 2
"""The number of images that the memory of a step is counted on."""

SHARE = 0.7
"""The share of the free memory that a step may take by the count, which leaves out buffers inside of kernels."""

COPIES = 24
"""Copies of each image that an attack holds beside the graphs: iterates, gradients, moments, the best image, ..."""


def fitting_batch_size(
    view: SystemView, shape: Sequence[int], device: torch.device, *, joint: bool, memory: int | None = None
) -> int:
    """Choose the number of images at once, a multiple of eight, by the memory of a step on two images.

    Args:
        view: the system, differentiable.
        shape: channels, height and width of the images.
        device: the device that the view is on.
        joint: True if the attack reads maps.
        memory: as for ``size_for``.

    Raises:
        InputError: not even eight images fit.
    """
    return size_for(step_bytes(view, shape, device, joint=joint), shape, device, memory)


def size_for(each: int | None, shape: Sequence[int], device: torch.device, memory: int | None = None) -> int:
    """Choose the number of images at once, a multiple of eight.

    It is the number that suits the device, or less if a step on so many images would not fit into memory.

    Args:
        each: the memory in bytes that a step takes for each image, as ``step_bytes`` counts it; None if not known.
        shape: channels, height and width of the images.
        device: the device that attacks run on.
        memory: the largest number of bytes that the process shall have on the device; if None, what is free counts.

    Raises:
        InputError: not even eight images fit.
    """
    _, height, width = shape
    suited = suited_size(height, width, device)
    if each is None:
        return suited
    left = room(device, memory)
    fits = int(SHARE * left) // each // MULTIPLE * MULTIPLE
    if fits < MULTIPLE:
        given = "are free" if memory is None else f"are left of memory={in_words(memory)}"
        raise InputError(
            f"a step on {MULTIPLE} images of {height} x {width} pixels needs about {in_words(MULTIPLE * each)} of "
            f"memory on {device}, and {in_words(left)} {given}. Free some, take smaller images, or attack fewer "
            f"interpreters at once; mask:small needs less than mask. To try anyway, give batch_size={MULTIPLE} "
            f"(--batch-size {MULTIPLE})."
        )
    return min(suited, fits)


def step_bytes(view: SystemView, shape: Sequence[int], device: torch.device, *, joint: bool) -> int | None:
    """Count the memory in bytes that a step takes for each image. None if the step fails: later checks say why."""
    prepared = view.prepared
    passes = prepared.forwards, prepared.backwards
    images = torch.rand(PROBED, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    classes = torch.zeros(PROBED, dtype=torch.int64, device=device)
    try:
        with torch.enable_grad(), counting(prepared.module.parameters()) as kept:
            _step(view.eager(), images.requires_grad_(), classes, joint)
    except (UnderfireError, RuntimeError):  # torch raises RuntimeError for whatever a network cannot do
        return None
    finally:
        prepared.forwards, prepared.backwards = passes
    return kept.peak // PROBED + COPIES * images[0].nelement() * images.element_size()


def _step(view: SystemView, images: Tensor, classes: Tensor, joint: bool) -> None:
    """Differentiate logits, and maps if ``joint``, in ``images``, as a step of an attack does."""
    if joint:
        states = view.begin(images.detach(), classes, classes)
        reading, _ = view.read(images, lambda _: classes, states, graph=True)
        loss = sum((maps.square().sum() for maps in reading.maps.values()), reading.logits.sum())
    else:
        loss = view.look(images, graph=True).logits.sum()
    torch.autograd.grad(loss, images)
