"""The attribution methods of captum as interpreters: to read with, and to attack if they can be differentiated."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from underfire import randomness
from underfire.arguments import check_at_least, check_known
from underfire.classifiers import Attackable, Classifier, Recorded, copied
from underfire.classifiers.features import named_part
from underfire.classifiers.pixels import Pixels
from underfire.errors import InputError, InterpreterError
from underfire.interpreters.agreement import agreement
from underfire.interpreters.base import HonestMaps, Interpreter, State, View
from underfire.interpreters.maps import min_max, pooled_map
from underfire.interpreters.smoothing import Smoothing, SmoothRectifiers

AGREES = 0.99
"""The cosine with finite differences from which on a map's derivative is trusted; see ``agreement``."""


@dataclass(frozen=True)
class Captum(Interpreter):
    """The map of an attribution method of captum, average-pooled, min-max per image.

    For gradient methods it is the largest |attribution| over channels; for methods that change parts of the image or
    look at a layer, the positive part of the sum over channels.

    Joint attacks need the derivative of the map in the image, and captum's own gradients have none. In the attack's
    view they are taken with a graph and, as for Grad, through smooth rectifiers. Before the first step, a comparison
    with finite differences shows if that makes the method differentiable; if not, the attack is refused.

    Args:
        method: a class of ``captum.attr``: ``Saliency``, ``DeepLift``, ``Lime``, ``KernelShap``, ``Occlusion``, ...
        options: arguments of the method's ``attribute``, such as ``{"n_samples": 200}``; kept as sorted pairs.
        cells: LIME, SHAP, ablation and occlusion divide the image into ``cells`` x ``cells`` squares.
        pool: side of the pooling window in pixels; as for ``Grad`` if None.
        seed: seed of methods that draw random numbers. An image always gets the same numbers with the same seed.
        smoothing: the slope of rectifiers in the attack's view; honest maps never use it.
    """

    name: ClassVar[str] = "captum"
    family: ClassVar[str] = "grad"

    method: str
    options: tuple[tuple[str, Any], ...] | Mapping[str, Any] = ()
    cells: int = 8
    pool: int | None = None
    seed: int = 0
    smoothing: Smoothing = field(default_factory=Smoothing)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(sorted(dict(self.options).items())))
        check_at_least("cells", self.cells, 1)
        self._class()

    @classmethod
    def from_argument(cls, argument: str) -> Captum:
        """Make the interpreter of a method's name, such as ``Lime``."""
        return cls(argument)

    @property
    def label(self) -> str:
        return f"{self.name}:{self.method}"

    def _class(self) -> Any:
        """Return captum's class of the method. Raises InputError if there is none, or captum is not installed."""
        try:
            known = methods()
        except ImportError as error:
            raise InputError("interpreter 'captum' needs the package captum: pip install captum.") from error
        check_known("captum method", self.method, known)
        return known[self.method]

    @property
    def _takes(self) -> Mapping[str, inspect.Parameter]:
        """The parameters of the method's ``attribute``."""
        return inspect.signature(self._class().attribute).parameters

    @property
    def _built_with(self) -> Mapping[str, inspect.Parameter]:
        """The parameters of the method's constructor."""
        return inspect.signature(self._class().__init__).parameters

    @property
    def draws(self) -> bool:
        """True if the method draws random numbers."""
        return "n_samples" in self._takes

    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        return self.bound_to(classifier)(images, classes, ids)

    def bound_to(self, classifier: Classifier) -> HonestMaps:
        own = copied(classifier)  # because captum registers hooks, and leaves them there after an error

        def read(images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
            return self.map_of(self.attribution(own, images.detach().clone(), classes, ids, graph=False))

        return read

    def reseeded(self, offset: int = 1) -> Captum | None:
        return replace(self, seed=self.seed + offset) if self.draws else None

    def attribution(self, pixels: Pixels, images: Tensor, classes: Tensor, ids: Tensor, graph: bool) -> Tensor:
        """Compute captum's attribution N x C x h x w.

        Args:
            pixels: the network.
            images: N x C x H x W in [0, 1].
            classes: int64 N.
            ids: int64 N, the images' identities, for random numbers.
            graph: True if the attribution will be differentiated.
        """
        method = self._made(pixels)
        if graph and hasattr(method, "gradient_func") and "model" not in self._built_with:
            method.gradient_func = _gradients  # not with a "model": its hooks are gone when the graph is used
        if not self.draws:
            return self._attribute(method, images, classes)
        parts = []
        for index, image_id in enumerate(ids.tolist()):  # one by one, so that nothing depends on the batch
            with randomness.seeded((image_id + self.seed * 0x9E3779B97F4A7C15) % 2**63, images.device):
                parts.append(self._attribute(method, images[index : index + 1], classes[index : index + 1]))
        return torch.cat(parts)

    def _made(self, pixels: Pixels) -> Any:
        """Make captum's object for the network, and for the layer if the method looks at one."""
        if "layer" not in self._built_with:
            return self._class()(pixels)
        if pixels.features is None:
            raise InterpreterError(
                f"captum's {self.method} looks at a layer, and the classifier names none: give it with "
                "Classifier(..., features='layer4')."
            )
        return self._class()(pixels, named_part(pixels.module, pixels.features))

    def _attribute(self, method: Any, images: Tensor, classes: Tensor) -> Tensor:
        """Call the method's ``attribute``, with squares, windows and baselines that suit the images."""
        takes, given = self._takes, {**dict(self.options), "target": classes}
        channels, height, width = images.shape[1:]
        rows, columns = (-(-side // self.cells) for side in (height, width))
        if "feature_mask" in takes:
            y, x = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
            across = -(-width // columns)
            given.setdefault("feature_mask", ((y // rows)[:, None] * across + x // columns).expand(1, 1, -1, -1))
        if "sliding_window_shapes" in takes:
            given.setdefault("sliding_window_shapes", (channels, rows, columns))
            given.setdefault("strides", (channels, rows, columns))
        if "baselines" in takes and takes["baselines"].default is inspect.Parameter.empty:
            given.setdefault("baselines", torch.zeros_like(images))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = method.attribute(images, **given)
        except torch.OutOfMemoryError:
            raise
        except (AssertionError, TypeError, ValueError, RuntimeError, NotImplementedError, AttributeError) as error:
            raise InterpreterError(f"captum's {self.method} cannot explain this classifier: {error}") from error
        if not isinstance(found, Tensor) or found.ndim != 4:
            raise InterpreterError(
                f"captum's {self.method} returns no map of an image; expected a tensor N x C x h x w."
            )
        return found

    def map_of(self, attribution: Tensor) -> Tensor:
        """Compute the maps N x h x w of attributions N x C x h x w."""
        if "layer" in self._built_with:
            return min_max(attribution.sum(1).clamp_min(0))
        if "feature_mask" in self._takes or "sliding_window_shapes" in self._takes:
            return pooled_map(attribution.sum(1, keepdim=True).clamp_min(0), self.pool)
        return pooled_map(attribution, self.pool)

    def view(self) -> View:
        return _CaptumView(self)


class _CaptumView(View):
    """A view that runs its own passes of the network. Before the first differentiated one, it checks the derivative.

    State: ``ids`` int64 N, the images' identities.
    """

    in_place = False

    def __init__(self, interpreter: Captum) -> None:
        self.interpreter = interpreter
        self.checked = False

    def begin(self, prepared: Attackable, images: Tensor, classes: Tensor, ids: Tensor) -> State:
        return {"ids": ids}

    def read(
        self, prepared: Attackable, recorded: Recorded, images: Tensor, classes: Tensor, state: State, graph: bool
    ) -> tuple[Tensor, State]:
        if graph and not self.checked:
            predicted = recorded.logits.detach().argmax(1)  # a class whose map is not empty
            self._check(prepared, images.detach()[:2], predicted[:2], state["ids"][:2])
            self.checked = True
        before = prepared.forwards
        assert isinstance(prepared, Pixels)  # captum needs the module itself
        maps = self._maps(prepared, images, classes, state["ids"], self.interpreter.smoothing, graph)
        prepared.backwards += (prepared.forwards - before) * (1 + graph)
        return maps, state

    def _maps(
        self, pixels: Pixels, images: Tensor, classes: Tensor, ids: Tensor, smoothing: Smoothing, graph: bool
    ) -> Tensor:
        images = images if graph else images.detach()
        with SmoothRectifiers(smoothing):
            return self.interpreter.map_of(self.interpreter.attribution(pixels, images, classes, ids, graph))

    def _check(self, prepared: Attackable, images: Tensor, classes: Tensor, ids: Tensor) -> None:
        """Compare the map's derivative with finite differences, in float64, with slopes that are true derivatives.

        Raises:
            InterpreterError: they do not agree.
        """
        exact = Pixels(
            copied(prepared.module).double(), prepared.mean, prepared.std, prepared.features, prepared.reader
        )
        smooth = Smoothing("softplus", 0.05)
        found = agreement(lambda x: self._maps(exact, x, classes, ids, smooth, graph=True), images.double())
        if not found >= AGREES:
            raise InterpreterError(
                f"captum's {self.interpreter.method} cannot be attacked: the derivative of its map agrees with finite "
                f"differences to a cosine of {found:.2f}, and {AGREES} is needed. It can read the images of an attack "
                "on another interpreter, or on the prediction alone: --interpreter cam --read-with "
                f"captum:{self.interpreter.method}, or readers= in Python."
            )


def methods() -> dict[str, Any]:
    """Return captum's attribution methods by their names. Raises ImportError if captum is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from captum import attr
    return {name: part for name, part in vars(attr).items() if _explains(part)}


def _explains(part: object) -> bool:
    """Return True if ``part`` is an attribution method for an image and a class.

    Permutation methods are none: they exchange parts between the images of a batch.
    """
    if not inspect.isclass(part) or not hasattr(part, "attribute") or "Permutation" in part.__name__:
        return False
    made, called = (inspect.signature(f).parameters for f in (part.__init__, part.attribute))
    required = [n for n, p in called.items() if p.default is inspect.Parameter.empty and n not in ("self", "kwargs")]
    needs = {n for n, p in made.items() if p.default is inspect.Parameter.empty} - {"self", "model", "forward_func"}
    possible = set(required) <= {"inputs", "baselines", "sliding_window_shapes"}
    return possible and needs <= {"layer"} and "target" in called


def _gradients(
    forward_fn: Callable[..., Tensor],
    inputs: tuple[Tensor, ...],
    target_ind: Any = None,
    additional_forward_args: Any = None,
) -> tuple[Tensor, ...]:
    """Compute gradients as captum's ``gradient_func`` does, but with a graph.

    Args:
        forward_fn: the network; if ``target_ind`` is None, a function without arguments that returns the target logits.
        inputs: the tensors to differentiate in.
        target_ind: the classes.
    """
    with torch.enable_grad():
        if target_ind is None:
            chosen = forward_fn()
        else:
            logits = forward_fn(*inputs)
            chosen = logits.gather(1, torch.as_tensor(target_ind, device=logits.device).view(-1, 1))
        return torch.autograd.grad(chosen.sum(), inputs, create_graph=True)
