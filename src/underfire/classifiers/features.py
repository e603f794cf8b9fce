"""Detection of a network's last features and its linear head while it runs.

Networks name their parts differently, and DenseNet's last activation is no module at all. But all convolutional
classifiers pool or flatten their last feature maps and end in a linear layer. So the features are the input of the last
such pooling, in whatever way it is called. Transformers that average their tokens do the same.

A transformer that reads a class token pools nothing. The class's logit has no gradient in the other tokens after the
last attention, so its features are what goes into that: the output of the first norm of the last block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode

from underfire.arguments import check_known
from underfire.classifiers.attention import ATTENTIONS, is_attention
from underfire.classifiers.tokens import LISTS, Axes
from underfire.errors import InputError
from underfire.numerics import full_precision

_MEANS = (torch.mean, torch.Tensor.mean)
_LAYER_NORMS = (F.layer_norm, F.rms_norm)
_FLATTENS = (torch.flatten, torch.Tensor.flatten, torch.Tensor.view, torch.Tensor.reshape, torch.reshape)


def _is_spatial(value: object) -> bool:
    return isinstance(value, Tensor) and value.ndim == 4 and value.shape[2] * value.shape[3] > 1


def _token_axes(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Axes | None:
    """Return the order of the axes of tokens that this call averages over all places; None if it does not do that."""
    given = args[0]
    if func in _MEANS:
        named = kwargs.get("dim", args[1] if len(args) > 1 else None)
        listed = named if isinstance(named, tuple | list) else [] if named is None else [named]
        dims = {int(dim) % given.ndim for dim in listed}
        if given.ndim == 3:
            axes: Axes | None = "nlc" if dims == {1} else "lnc" if dims == {0} else None
            return axes if axes and given.shape[LISTS[axes]] > 1 else None
        return "nhwc" if given.ndim == 4 and dims == {1, 2} and given.shape[1] * given.shape[2] > 1 else None
    if func is F.adaptive_avg_pool1d and given.ndim == 3 and given.shape[2] > 1:
        return "ncl" if kwargs.get("output_size", args[1] if len(args) > 1 else None) in (1, (1,), [1]) else None
    return None


def _pools(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], output: object) -> bool:
    """Return True if this call averages feature maps over space, as the step before a classifier's head does."""
    if func is F.adaptive_avg_pool2d:
        return True
    if func in _MEANS:
        dims = kwargs.get("dim", args[1] if len(args) > 1 else None)
        return isinstance(dims, tuple | list) and {int(dim) % 4 for dim in dims} == {2, 3}
    if func is F.avg_pool2d:
        return isinstance(output, Tensor) and output.shape[2] * output.shape[3] == 1
    return False


def _is_linear(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Return True if this call is a convolution of single pixels with each other: some heads are written so."""
    if func is not torch.conv2d or args[0].ndim != 4:
        return False
    weight = args[1] if len(args) > 1 else kwargs["weight"]
    return bool(args[0].shape[2:].numel() == weight.shape[2:].numel() == 1 and weight.shape[1] == args[0].shape[1])


def _lowers_resolution(given: object, output: object) -> bool:
    """Return True if this call turns feature maps into smaller ones that are still maps."""
    if not (_is_spatial(output) and _is_spatial(given)):
        return False
    assert isinstance(given, Tensor)
    assert isinstance(output, Tensor)
    return output.shape[2] < given.shape[2] and output.shape[3] < given.shape[3]


def _share_memory(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _by_head(normed: Tensor, given: Tensor) -> bool:
    """Return True if a norm's output are queries or keys of each head, and no tokens.

    Args:
        normed: the output.
        given: the queries N x heads x L x C, or the scores N x heads x L x S, of the attention that follows.
    """
    return normed.ndim == 4 and sorted(normed.shape[:3]) == sorted(given.shape[:3])


@dataclass(frozen=True)
class AffineNorm:
    """A batch norm of vectors in evaluation mode, as x -> ``scale`` x + ``shift``; both have C values."""

    scale: Tensor
    shift: Tensor

    @classmethod
    def of(
        cls,
        mean: Tensor | None,
        variance: Tensor | None,
        weight: Tensor | None = None,
        bias: Tensor | None = None,
        training: bool = False,
        momentum: float = 0.1,
        eps: float = 1e-5,
    ) -> AffineNorm | None:
        """Convert the arguments of ``F.batch_norm`` after its input; None if it takes the statistics of the batch."""
        if training or mean is None or variance is None:
            return None
        scale = (full_precision(variance) + eps).rsqrt()
        scale = scale if weight is None else scale * full_precision(weight)
        shift = -full_precision(mean) * scale
        return cls(scale, shift if bias is None else shift + full_precision(bias))


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
        self._pooled = 0
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
        if func is F.linear or _is_linear(func, args, kwargs):
            weight = args[1] if len(args) > 1 else kwargs["weight"]
            self.weight, self.headed = weight.flatten(1), True
            self.bias = args[2] if len(args) > 2 else kwargs.get("bias")
            self.head_output = output
            before = self._normalised
            self.norm = before[1] if before is not None and before[0].data_ptr() == args[0].data_ptr() else None
            if self._layer_normed:
                self._project(args[0], output)
        elif func is F.batch_norm and args[0].ndim == 2:
            norm = AffineNorm.of(*args[1:], **kwargs)
            self._normalised = None if norm is None else (output, norm)
        elif func in _FLATTENS:
            if _is_spatial(args[0]) and args[0].data_ptr() != self._pooled and output.ndim == 2:
                self._keep(args[0], None)
        elif args and _is_spatial(args[0]) and _pools(func, args, kwargs, output):
            self._keep(args[0], None)
            self._pooled = output.data_ptr()
        elif func is torch.conv2d:
            self.sizes.append((output.shape[-2], output.shape[-1]))
        elif func in _LAYER_NORMS:
            if output.ndim in (3, 4):
                self._normalise(args[0], output)
        elif self._layer_normed and is_attention(func, args, kwargs):
            self._attend(func, args[0] if args else next(iter(kwargs.values())))
        elif args and isinstance(args[0], Tensor) and (axes := _token_axes(func, args, kwargs)):
            self._keep(args[0], axes)
            self._pooled = output.data_ptr()
        if self.scales and args and _lowers_resolution(args[0], output):
            self.finer[tuple(args[0].shape[2:])] = args[0]
        return output

    def _keep(self, features: Tensor, axes: Axes | None) -> None:
        self.features, self.axes, self.pooled, self.headed = features, axes, True, False

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
        """Return the features after the pass, and the order of their axes; None for N x C x h x w.

        Pooled tokens count only if the head reads them alone: if it is wider, it reads a class token beside them.
        """
        if self.axes is not None and self.features is not None and self.weight is not None:
            channels = self.features.shape[1 if self.axes == "ncl" else -1]
            self.pooled = self.pooled and (self.attended is None or self.weight.shape[1] <= channels)
        if self.pooled or self.attended is None:
            return self.features, self.axes
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
    """
    part = named_part(module, name)
    outputs: list[Tensor] = []

    def keep(_module: nn.Module, _inputs: object, output: Any) -> Any:
        several = isinstance(output, tuple)
        outputs.append(output[0] if several else output)
        return (output[0].clone(), *output[1:]) if several else output.clone()

    handle = part.register_forward_hook(keep)
    try:
        yield outputs
    finally:
        handle.remove()
