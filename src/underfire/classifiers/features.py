"""Detection of a network's last features and its linear head while it runs.

Networks name their parts differently, and DenseNet's last activation is no module at all. But all convolutional
classifiers pool or flatten their last feature maps and end in a linear layer. So the features are the input of the last
such pooling, in whatever way it is called; see ``pooling``. Transformers that average their tokens do the same.

Blocks inside a network pool, too (squeeze and excitation). If the last pooling that was recognised is one of these,
maps go on after it, and a head reads what becomes of them. Then there are no features rather than those of the block.

A transformer that reads a class token pools nothing. The class's logit has no gradient in the other tokens after the
last attention, so its features are what goes into that: the output of the first norm of the last block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

from underfire.arguments import check_known
from underfire.classifiers.affine import AffineNorm
from underfire.classifiers.attention import ATTENTIONS, is_attention
from underfire.classifiers.axes import follow_axes, moved_order, usual_shape
from underfire.classifiers.pooling import (
    COPIES,
    are_maps,
    is_linear,
    lowers_resolution,
    pooled_maps,
    token_axes,
)
from underfire.classifiers.tokens import LISTS, Axes
from underfire.errors import ClassifierError, InputError

_LAYER_NORMS = (F.layer_norm, F.rms_norm)
_POOLED = "_number_of_pooling"


def _carry(output: object, number: int) -> None:
    """Let tensors carry the number of the pooling that they were made of."""
    for value in output if isinstance(output, tuple | list) else (output,):
        if isinstance(value, Tensor):
            setattr(value, _POOLED, number)


def _share_memory(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _by_head(normed: Tensor, given: Tensor) -> bool:
    """Return True if a norm's output are queries or keys of each head, and no tokens.

    Args:
        normed: the output.
        given: the queries N x heads x L x C, or the scores N x heads x L x S, of the attention that follows.
    """
    return normed.ndim == 4 and sorted(normed.shape[:3]) == sorted(given.shape[:3])


class FeatureTap(TorchFunctionMode):
    """Records the last features that are pooled or flattened, and the last linear layer, of one forward pass.

    ``features`` is the tensor that went into the pooling, so gradients with respect to it exist; ``axes`` is the order
    of its axes if it holds tokens, and None if it is N x C x h x w. ``attended`` is the normalised input of the last
    attention, ``tokens`` is the number of its tokens over all images, and ``pooled`` is False if that came after the
    last pooling; ``headed`` is True if a linear layer came after that. ``sizes`` are height and width of all
    convolutions' outputs. ``norm`` is the batch norm whose output went into the last linear layer; None if there is
    none.

    Args:
        scales: also record finer feature maps in ``finer``: by height and width, the last maps that went into a step
            which lowers the resolution. They hold memory as long as the tap does.
    """

    def __init__(self, scales: bool = False) -> None:
        super().__init__()
        self.scales = scales
        self.finer: dict[tuple[int, ...], Tensor] = {}
        self.features: Tensor | None = None
        self.axes: Axes | None = None
        self.attended: Tensor | None = None
        self.pooled = False
        self.headed = False
        self.sizes: list[tuple[int, int]] = []
        # Since the last attention: outputs of norms; what linear layers made of them, by its memory; norms of that.
        self._layer_normed: list[Tensor] = []
        self._projected: list[StorageWeakRef] = []
        self._renormed: list[Tensor] = []
        self._attended_axes: Axes = "nlc"
        self.weight: Tensor | None = None
        self.bias: Tensor | None = None
        self.head_output: Tensor | None = None
        self.norm: AffineNorm | None = None
        # True once maps went on after the last pooling, and once a linear layer came after these that does not read
        # what was pooled. The pooling's output carries its number, and so does all that is made of it but maps.
        self._poolings = 0
        self._maps_went_on = False
        self._read_further = False
        self._normalised: tuple[Tensor, AffineNorm] | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        output = func(*args, **kwargs)
        if not args and "input" in kwargs:  # the first argument, by its name
            args, kwargs = (kwargs["input"],), {name: value for name, value in kwargs.items() if name != "input"}
        follow_axes(func, args, kwargs, output)
        if func is torch.conv2d:
            self.sizes.append((output.shape[-2], output.shape[-1]))
        if func is F.linear or is_linear(func, args, kwargs):
            weight = args[1] if len(args) > 1 else kwargs["weight"]
            self.weight, self.headed = torch.atleast_2d(weight).flatten(1), True  # a single output may have a vector
            self.bias = args[2] if len(args) > 2 else kwargs.get("bias")
            self._read_further = self._maps_went_on and getattr(args[0], _POOLED, 0) != self._poolings
            self.head_output = output
            before = self._normalised
            self.norm = before[1] if before is not None and before[0].data_ptr() == args[0].data_ptr() else None
            if self._layer_normed:
                self._project(args[0], output)
        elif func is F.batch_norm and args[0].ndim == 2:
            norm = AffineNorm.of(*args[1:], **kwargs)
            self._normalised = None if norm is None else (output, norm)
        elif func in _LAYER_NORMS:
            if output.ndim in (3, 4):
                self._normalise(args[0], output)
        elif self._layer_normed and is_attention(func, args, kwargs):
            self._attend(func, args[0] if args else next(iter(kwargs.values())))
        elif self._may_be_tokens(args) and (axes := token_axes(func, args, kwargs)):
            self._keep(args[0], axes)
            _carry(output, self._poolings)
        elif (maps := pooled_maps(func, args, output)) is not None and not self._adds_nothing(maps):
            self._keep(maps, moved_order(maps))
            _carry(output, self._poolings)
        elif self._goes_on(output) and func not in COPIES:
            self._maps_went_on = True
        if self._poolings and not self._goes_on(output):
            flat = (part for value in args for part in (value if isinstance(value, tuple | list) else (value,)))
            numbers = [getattr(part, _POOLED, 0) for part in flat if isinstance(part, Tensor)]
            if self._poolings in numbers:
                _carry(output, self._poolings)
        if self.scales and args and lowers_resolution(args[0], output):
            self.finer[tuple(args[0].shape[2:])] = args[0]
        return output

    @staticmethod
    def _may_be_tokens(args: tuple[Any, ...]) -> bool:
        """Return True if a call's first argument is a tensor that was not made of what was pooled before.

        A mean over the stacked logits of several networks takes no places out of tokens.
        """
        return bool(args) and isinstance(args[0], Tensor) and not getattr(args[0], _POOLED, 0)

    def _adds_nothing(self, maps: Tensor) -> bool:
        """Return True if these are weights of the places of the features, or a vector that was pooled before."""
        new = usual_shape(maps)
        known = None if self.features is None or self.features.ndim != 4 else usual_shape(self.features)
        weights = known is not None and new[1] == 1 < known[1] and new[2:] == known[2:]
        return weights or self._is_pooled(maps)

    def _is_pooled(self, value: object) -> bool:
        """Return True if ``value`` has so few elements that it is the vector of the last pooling in another shape."""
        if self.features is None or self.features.ndim != 4 or not isinstance(value, Tensor) or not value.ndim:
            return False
        channels = self.features.shape[1 if self.axes is None else self.axes.index("c")]
        return value[:1].numel() <= channels

    def _goes_on(self, value: object) -> bool:
        """Return True if ``value`` are maps, or tokens beside a pooling of tokens, and not what was pooled."""
        if are_maps(value):
            return not self._is_pooled(value)
        if self.features is None or self.axes not in LISTS or not isinstance(value, Tensor) or value.ndim != 3:
            return False
        images, tokens = (self.features.shape[self.axes.index(axis)] for axis in "nl")
        return tokens in value.shape and sum(side > 1 for side in value.shape) >= (3 if images > 1 else 2)

    def _keep(self, features: Tensor, axes: Axes | None) -> None:
        self._poolings += 1
        self.features, self.axes, self.pooled, self.headed = features, axes, True, False
        self._maps_went_on = self._read_further = False

    def _project(self, given: Tensor, output: Tensor) -> None:
        """Note a linear layer after a norm: its output may be queries or keys. What it reads is not."""
        self._layer_normed += [normed for normed in self._renormed if _share_memory(given, normed)]
        if any(_share_memory(given, normed) for normed in self._layer_normed):
            self._projected.append(StorageWeakRef(output.untyped_storage()))

    def _normalise(self, given: Tensor, output: Tensor) -> None:
        """Note a layer norm: it is of tokens, unless ``given`` is what a linear layer made of normalised tokens."""
        memory = given.untyped_storage()._cdata
        of_queries = any(memory == projected.cdata for projected in self._projected)
        (self._renormed if of_queries else self._layer_normed).append(output)

    def _attend(self, func: Callable[..., Any], given: Tensor) -> None:
        """Find the tokens that went into an attention which was computed from ``given``."""
        inputs = [normed for normed in self._layer_normed if not _by_head(normed, given)]
        if not inputs:
            return
        self.attended, self.pooled, self._layer_normed = inputs[-1], False, inputs[-1:]
        self._projected, self._renormed = [], []
        # torch's function takes tokens L x N x C. If the network holds them so, it gives them as they are.
        as_they_are = given.shape == inputs[-1].shape and given.stride() == inputs[-1].stride()
        self._attended_axes = "lnc" if func is ATTENTIONS[1] and as_they_are else "nlc"

    @property
    def tokens(self) -> int | None:
        return None if self.attended is None else self.attended[..., 0].numel()

    def found(self) -> tuple[Tensor | None, Axes | None]:
        """Return the features after the pass, None if they were not recognised, and the order of their axes.

        The order is None for N x C x h x w.

        Pooled tokens count only if the head reads them alone: if it is wider, it reads a class token beside them.
        """
        if self.axes is not None and self.features is not None and self.weight is not None:
            channels = self.features.shape[self.axes.index("c")]
            self.pooled = self.pooled and (self.attended is None or self.weight.shape[1] <= channels)
        if self.pooled or self.attended is None:
            inside = self._maps_went_on and (self._read_further or not self.headed)
            return (None, None) if inside else (self.features, self.axes)
        return self.attended, self._attended_axes if self.attended.ndim == 3 else "nhwc"


def check_features(module: nn.Module, name: str) -> None:
    """Raise InputError, with the nearest names, if ``module`` has no submodule called ``name``."""
    if not isinstance(name, str):
        raise InputError(
            f"features is an object of type {type(name).__name__}; expected the name of a module: 'layer4'."
        )
    names = [known for known, _ in module.named_modules() if without_wrappers(known)]
    if without_wrappers(name) not in map(without_wrappers, names):
        check_known("module of the classifier for its features", name, names)


def named_part(module: nn.Module, name: str) -> nn.Module:
    """Return the submodule called ``name``, which may leave out the names of compiled parts. Raises InputError."""
    check_features(module, name)
    parts: dict[str, nn.Module] = {
        without_wrappers(known): part for known, part in module.named_modules() if without_wrappers(known)
    }
    return parts[without_wrappers(name)]


def without_wrappers(name: str) -> str:
    """The name that a module has where no part is compiled, as in the copies that attacks run on."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


@contextmanager
def tap_module(module: nn.Module, name: str) -> Iterator[list[Tensor]]:
    """Context that collects the outputs of the submodule called ``name``.

    The next layer gets a copy, so that an in-place activation does not change the collected output.

    Raises:
        ClassifierError: the module returns no tensor, or it does not run.
    """
    part = named_part(module, name)
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Any) -> Any:
        several = isinstance(output, tuple | list) and bool(output)
        found = output[0] if several else output
        if not isinstance(found, Tensor):
            raise ClassifierError(
                f"features is {name!r}, and that module returns an object of type {type(output).__name__}; expected a "
                "tensor, or a tuple or list that begins with one. Name another module: one inside of it, or after it."
            )
        outputs.append(found)
        if not several:
            return found.clone()
        parts = (found.clone(), *output[1:])
        return output._make(parts) if hasattr(output, "_make") else type(output)(parts)

    handle = part.register_forward_hook(keep)
    try:
        yield outputs
    finally:
        handle.remove()
    if not outputs:
        raise ClassifierError(
            f"features is {name!r}, and that module does not run in the network's forward pass; expected one that "
            "does. Is it used in training alone, or only its weights?"
        )
