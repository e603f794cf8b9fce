"""Probes: before the first step, check that an attack can follow the gradients of a system's logits and maps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from underfire.attacks.benign import Benign
from underfire.attacks.second_order import ends_in_an_error, without_second_derivative
from underfire.classifiers import WHY_NO_GRADIENT, Attackable
from underfire.errors import NoGradientError
from underfire.interpreters.base import View
from underfire.interpreters.map_checks import check_range, check_same_size
from underfire.system import SystemView
from underfire.user_parts import is_own

GROUPS = 4
"""At most so many groups of eight images are tried before a map without a slope is refused."""


def probe_logits(prepared: Attackable, images: Tensor) -> None:
    """Check that the logits follow the image, by differentiating them on a few of ``images`` N x C x H x W.

    If none of the first images has a slope, the remaining ones are tried, and then all of them with noise: a black or a
    saturated image must not decide if an attack can begin.

    Raises:
        NoGradientError: the logits do not follow the image, so that an attack would silently do nothing.
    """
    passes, broken = prepared.forwards, False
    seen = list[Tensor]()
    try:
        for some in _ever_more(images):
            gradient, logits = _gradient_of_logits(prepared, some)
            seen.append(logits)
            finite = torch.isfinite(gradient).flatten(1).all(1)
            if bool((finite & gradient.flatten(1).any(1)).any()):
                return
            broken = broken or not bool(finite.all())
    finally:
        prepared.forwards = passes
    if broken:
        raise NoGradientError(
            "the gradient of the classifier's logits in the image holds NaN or infinite values, which nothing can "
            "follow: something in its forward, such as the root or the logarithm of 0, has no slope there."
        )
    answers = torch.cat(seen)
    if bool((answers == answers[0]).all()):
        raise NoGradientError(
            "the classifier gives the same logits for all images that were tried, and no slope leads to others: are "
            "its weights loaded? The last layer of some networks is all zeros before they are trained. Or something "
            "in its forward, such as rounding, hides the image."
        )
    raise NoGradientError(
        "the gradient of the classifier's logits in the image is zero everywhere: something in its forward, such as "
        "rounding or a threshold, hides the image from gradients, and no attack that follows them would change "
        "anything. That is no robustness: pass the gradient straight through it."
    )


def _unknown_part(view: SystemView) -> str:
    """Name what may lack a derivative: nobody knows if the network or a view of the user's own does."""
    own = [name for name, each in view.views.items() if is_own(each) or not isinstance(each, View)]  # or it is guarded
    return f"A part of this network, or the view of {' or '.join(own)}," if own else "A part of this network"


def _ever_more(images: Tensor) -> Iterator[Tensor]:
    """Yield all of ``images``, at most 8 at a time, then all of them with noise."""
    parts = [images[begin : begin + 8] for begin in range(0, len(images), 8)]
    yield from parts
    generator = torch.Generator().manual_seed(0)
    for some in parts:
        yield (some + torch.rand(some.shape, generator=generator).to(some) - 0.5).clamp(0, 1)


def _gradient_of_logits(prepared: Attackable, images: Tensor) -> tuple[Tensor, Tensor]:
    """Differentiate a smooth function of the logits of at most 8 images in them: 8 x C x H x W, and the logits.

    Raises:
        NoGradientError: the logits do not depend on the image, or part of the network has no derivative.
    """
    image = images.clone().requires_grad_()
    logits = prepared.run(image)
    gradient = None
    if logits.requires_grad:
        try:
            (gradient,) = torch.autograd.grad(_contrast(logits), image, allow_unused=True)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # torch has no class of its own for a derivative that does not exist
            raise NoGradientError(f"the classifier's logits cannot be differentiated in the image: {error}") from error
    if gradient is None:
        raise NoGradientError(f"the classifier's logits cannot be differentiated in the image: {WHY_NO_GRADIENT}")
    return gradient, logits.detach()


def probe_views(view: SystemView, benign: Benign, classes: Tensor) -> None:
    """Check that all maps follow the image, by differentiating each once on a few images, or on more if need be.

    If a map does not change with the image for the classes that the attack will read, because nothing speaks for these
    classes yet, the images' own classes are tried: which images stand together must not decide if an attack can begin.

    Args:
        classes: int64 N, the classes that the attack will read.

    Raises:
        NoGradientError: the network has no second derivative, or the gradient of a map is zero everywhere, so that an
            attack would silently do nothing. ``module`` names the part of the network that is to blame, if known.
        InterpreterError: a view's maps have another size than the honest maps, or values outside of [0, 1].
    """
    every = torch.arange(len(benign.images), device=benign.images.device)
    view = view.eager()
    passes = view.prepared.forwards, view.prepared.backwards
    gradients: dict[str, Tensor] = {}
    try:
        for chosen in _some_of(every.split(8)):
            for asked in (classes, benign.labels):
                if not gradients or not all(bool(gradient.any()) for gradient in gradients.values()):
                    more = _gradients(view, benign, asked, chosen)
                    gradients = {n: gradients[n] if n in gradients and gradients[n].any() else more[n] for n in more}
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # torch has no class of its own for a derivative that does not exist
        module = without_second_derivative(view.prepared, benign.images[:2])
        raise NoGradientError(
            f"the maps cannot be differentiated in the image: {error}. {module or _unknown_part(view)} has no "
            "second derivative. Use another form of it (written with torch's usual functions, attention written out "
            "for a fused one, functions without torch.compile), or attack CAM, whose maps need none.",
            module,
        ) from error
    finally:
        view.prepared.forwards, view.prepared.backwards = passes
    for name, gradient in gradients.items():
        if not bool(gradient.any()):
            maps = benign.maps.get(name)
            if maps is not None and bool((maps == maps.flatten()[0]).all()):
                spread = float(benign.logits.std(1).mean())
                raise NoGradientError(
                    f"{name}'s maps of these images are {float(maps.flatten()[0]):g} everywhere: there is nothing that "
                    f"an attack could keep. The logits of an image have a standard deviation of {spread:.1e}: if that "
                    "is next to nothing, are the classifier's weights loaded?"
                )
            raise NoGradientError(
                f"the gradient of {name}'s maps is zero everywhere: a joint attack would do nothing. The network's "
                "activations are piecewise linear in a way that the interpreter's view does not smooth."
            )
        if not bool(torch.isfinite(gradient).all()):
            raise NoGradientError(f"the gradient of {name}'s maps holds NaN or infinite values; nothing can follow it.")


def _some_of(groups: Sequence[Tensor]) -> list[Tensor]:
    """Return at most ``GROUPS`` groups of images: the first one, and others at equal distances."""
    return [groups[i * len(groups) // min(GROUPS, len(groups))] for i in range(min(GROUPS, len(groups)))]


def _gradients(view: SystemView, benign: Benign, classes: Tensor, chosen: Tensor) -> dict[str, Tensor]:
    """Differentiate the maps for ``classes`` in the ``chosen`` images, by interpreter; 0 if there is no gradient."""
    image, classes = benign.images[chosen].clone().requires_grad_(), classes[chosen]
    states = view.begin(image.detach(), classes, benign.ids[chosen])
    reading, _ = view.read(image, lambda _logits: classes, states, graph=True)
    for name, looks in reading.looks.items():
        if name in benign.maps:  # `check` reads no honest maps
            check_same_size(looks, benign.maps[name], name)
        if bool(torch.isfinite(looks).all()):  # other values have a message of their own
            check_range(looks, f"the view of interpreter {name}")
        if ends_in_an_error(looks):
            raise RuntimeError("a function on the way is marked with once_differentiable")
    found = {
        name: torch.autograd.grad(_contrast(looks), image, retain_graph=True, allow_unused=True)[0]
        for name, looks in reading.looks.items()
    }
    return {name: torch.zeros_like(image) if gradient is None else gradient for name, gradient in found.items()}


def _contrast(values: Tensor) -> Tensor:
    """Compute a smooth function of values N x ... whose gradient vanishes for no ordinary ones: squared distance to a
    ramp."""
    ramp = torch.linspace(0, 1, values[0].numel(), device=values.device, dtype=values.dtype).view_as(values[0])
    return (values - ramp).square().sum()
