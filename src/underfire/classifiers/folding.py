"""Folding of batch norms into the convolutions before them, and doing it again for new weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.nn.utils.parametrize import is_parametrized
from torch.overrides import TorchFunctionMode

Pairs = tuple[tuple[str, str], ...]
"""Names of a convolution and of the batch norm that takes its output."""


class _Uses(TorchFunctionMode):
    """Counts the calls that take a convolution's output and return a tensor. Calls such as ``dim`` do not count."""

    def __init__(self) -> None:
        super().__init__()
        self.makers: dict[int, nn.Module] = {}
        self.outputs: list[Tensor] = []  # kept alive, so that no other tensor gets the id of one
        self.counts: dict[nn.Module, int] = {}

    def add(self, convolution: nn.Module, output: Tensor) -> None:
        self.makers[id(output)] = convolution
        self.outputs.append(output)
        self.counts[convolution] = 0

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        if any(isinstance(value, Tensor) for value in _flat(output)):
            for value in _flat((args, kwargs)):
                if id(value) in self.makers:
                    self.counts[self.makers[id(value)]] += 1
        return output


def _flat(value: Any) -> Iterable[Any]:
    """The values inside nested tuples, lists and dictionaries."""
    if isinstance(value, dict):
        value = tuple(value.values())
    if not isinstance(value, tuple | list):
        return [value]
    return [inner for each in value for inner in _flat(each)]


def foldable(network: nn.Module, run: Callable[[], object]) -> Pairs:
    """Find the batch norms that can be folded, by watching one forward pass.

    Any way of writing a network is covered, because the pass shows which output goes where. A convolution or batch norm
    that runs more than once is left out, and so is one that computes something else than torch's does: with a
    ``forward`` of its own (weight standardisation, a batch norm with its activation), with hooks (spectral norm, weight
    norm, pruning), or with parametrised weights. If the output of any
    convolution goes to a batch norm and somewhere else too, nothing is folded: with batch norms that do nothing yet, as
    in an untrained network, the logits would not show the error, and ``fold_again`` would make it later.

    Args:
        network: in evaluation mode.
        run: makes one forward pass of the network.
    """
    uses, calls = _Uses(), dict[nn.Module, int]()
    found: list[tuple[nn.Module, nn.Module]] = []

    def watch(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[part] = calls.get(part, 0) + 1
        if isinstance(part, nn.Conv2d):
            uses.add(part, output)
        elif inputs and id(inputs[0]) in uses.makers:
            found.append((uses.makers[id(inputs[0])], part))

    watched = [part for part in network.modules() if isinstance(part, nn.Conv2d | nn.BatchNorm2d)]
    plain = {part for part in watched if _is_plain(part)}
    handles = [part.register_forward_hook(watch) for part in watched]
    try:
        with uses:
            run()
    finally:
        for handle in handles:
            handle.remove()
    names = {part: name for name, part in network.named_modules()}
    single = [
        (convolution, norm)
        for convolution, norm in found
        if calls[convolution] == calls[norm] == 1
        and names[norm]
        and norm.running_mean is not None
        and {convolution, norm} <= plain
    ]
    if any(uses.counts[convolution] > 1 for convolution, _ in single):
        return ()
    return tuple((names[convolution], names[norm]) for convolution, norm in single)


def _is_plain(part: nn.Module) -> bool:
    """Return True if a convolution or a batch norm computes what torch's does from its weights, and nothing else."""
    kind: type[nn.Module] = nn.Conv2d if isinstance(part, nn.Conv2d) else nn.BatchNorm2d
    methods = ("forward", "_conv_forward") if kind is nn.Conv2d else ("forward",)
    return (
        all(getattr(type(part), name) is getattr(kind, name) and name not in vars(part) for name in methods)
        and not part._forward_hooks
        and not part._forward_pre_hooks
        and "weight" in part._parameters
        and not is_parametrized(part)
    )


def fold(network: nn.Module, pairs: Pairs) -> None:
    """Fold the batch norms of ``pairs`` into their convolutions; ``nn.Identity`` takes the place of the batch norms."""
    for name, norm_name in pairs:
        convolution: Any = network.get_submodule(name)
        weight, bias = _fused(convolution, network.get_submodule(norm_name))
        convolution.weight, convolution.bias = (nn.Parameter(value, requires_grad=False) for value in (weight, bias))
        network.set_submodule(norm_name, nn.Identity())


def fold_again(network: nn.Module, source: nn.Module, pairs: Pairs) -> None:
    """Repeat ``fold`` for new weights: compute them from the parts of ``source``, and copy them into ``network``."""
    for name, norm_name in pairs:
        convolution: Any = network.get_submodule(name)
        weight, bias = _fused(source.get_submodule(name), source.get_submodule(norm_name))
        convolution.weight.copy_(weight)
        convolution.bias.copy_(bias)


def _fused(convolution: Any, norm: Any) -> tuple[Tensor, Tensor]:
    return fuse_conv_bn_weights(
        convolution.weight, convolution.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
