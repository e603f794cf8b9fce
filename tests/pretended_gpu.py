"""A GPU that is not there: tensors that say they are on ``cuda:0``, and compute on the CPU.

Code that mixes devices fails on them as it would on a GPU: an operation on tensors of two devices raises RuntimeError,
unless one of them is a number (a CPU tensor without dimensions) or the operation copies. NumPy refuses them, and so do
generators of the CPU. Not imitated are speed, waiting, last bits, memory, streams and graphs, operations that a GPU has
only in another form, and that ``to`` returns a tensor itself if nothing changes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import underfire.cli.commands  # modules that are patched below must be imported before
import underfire.runs.map_pool  # noqa: F401  # imported only to be patched
from underfire.attacks import captured
from underfire.batching import MULTIPLE

GPU = torch.device("cuda", 0)

INTO_FIRST = {"copy_", "index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index_put"}
"""Operations whose result is where their first tensor is; the indices may be on the CPU."""

MIXING = {*INTO_FIRST, "_to_copy"}
"""Operations that may have tensors of two devices."""

WITHOUT_NUMBERS = {"cat", "stack", "index_select", "gather", "scatter", "scatter_add", "embedding"}
"""Operations that take no number from the CPU beside tensors on the GPU."""

SHAPING = {"squeeze_", "unsqueeze_", "t_", "transpose_", "resize_", "set_", "as_strided_"}
"""Operations that change the shape of a tensor in place, which is not imitated."""


class OnGPU(Tensor):
    """A tensor that says it is on the GPU. Its values lie in ``held``, on the CPU."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> OnGPU:
        made: OnGPU = torch.Tensor._make_wrapper_subclass(
            cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype, layout=held.layout, device="meta"
        )
        made.held = held
        return made

    # Types are ignored because these are attributes of Tensor, and properties here.
    device = property(lambda self: GPU)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = is_meta = property(lambda self: False)  # type: ignore[assignment]

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"OnGPU({self.held!r})"

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.held.detach().numpy()
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        return self.held.tolist()

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return on_gpu(function, args, kwargs or {})


class PretendedGPU(TorchDispatchMode):
    """Sees every operation, so that those that ask for a tensor on the GPU get one."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return on_gpu(function, args, kwargs or {})


def on_gpu(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Do an operation on the values that lie on the CPU, and return tensors on the device where it would be."""
    name, written = _about(function)
    tensors = [each for each in _flat((*args, *kwargs.values())) if isinstance(each, Tensor)]
    there = [isinstance(each, OnGPU) for each in tensors]
    asked = kwargs.get("device")
    held = _map(_values, args), {key: _map(_values, value) for key, value in kwargs.items()}
    if asked is not None:
        # torch itself asks for the device that these tensors have below Python.
        goal = torch.device(asked).type in ("cuda", "meta")
        held[1]["device"] = torch.device("cpu")
    elif name in INTO_FIRST:
        goal = there[0]
        if name != "copy_" and not goal and any(there):
            raise RuntimeError(f"{function}: the indices or values are on the GPU, and the tensor on the CPU.")
        if "index_put" in name and args[2].dim() and isinstance(args[2], OnGPU) != goal:
            raise RuntimeError(f"{function}: the values are on another device than the tensor, which may be cuda:0.")
    else:
        goal = any(there)
        into = args[written[0]] if written and written[0] < len(args) else None
        strange = [each for each in tensors if not isinstance(each, OnGPU)]
        apart = name not in WITHOUT_NUMBERS and not any(each.dim() or each is into for each in strange)
        if goal and name not in MIXING and strange and not apart:
            shapes = [(str(each.device), *each.shape) for each in tensors]
            raise RuntimeError(f"{function}: expected all tensors to be on the same device, but found {shapes}.")
    if goal and kwargs.get("generator") is not None:
        raise RuntimeError(f"{function}: expected a generator on cuda:0, but found one on cpu.")
    if any(there) and name in SHAPING:
        raise NotImplementedError(f"{function} is not imitated on the pretended GPU.")
    found = function(*held[0], **held[1])
    if name == "_efficientzerotensor":  # zeros without memory, which are known by a key that is lost here
        found = torch.zeros(found.shape, dtype=found.dtype)
    if written is not None:  # it wrote into a tensor, and returns that
        place, key = written
        return args[place] if place < len(args) else kwargs[key]
    if name == "_to_copy" and found is held[0][0]:
        found = found.clone()
    return _map(OnGPU, found) if goal else found


@cache
def _about(function: Any) -> tuple[str, tuple[int, str] | None]:
    """Return an operation's name, and the place and name of the argument that it writes into and returns."""
    arguments = function._schema.arguments
    written = [
        (place, each.name) for place, each in enumerate(arguments) if each.alias_info and each.alias_info.is_write
    ]
    returns = function._schema.returns
    return function.overloadpacket.__name__, written[0] if len(written) == len(returns) == 1 else None


def _values(each: Tensor) -> Tensor:
    return each.held if isinstance(each, OnGPU) else each


def _flat(values: Any) -> Iterator[Any]:
    for each in values:
        if isinstance(each, list | tuple):
            yield from _flat(each)
        else:
            yield each


def _map(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """Change each tensor in a value, or in lists and tuples."""
    if isinstance(value, list | tuple):
        return type(value)(_map(change, each) for each in value)
    return change(value) if isinstance(value, Tensor) else value


@contextmanager
def pretended_gpu() -> Iterator[torch.device]:
    """Within, there is a GPU by the name of ``cuda:0``: its tensors compute on the CPU, in batches of eight."""

    cuda = {
        # A function of its own for each: torch._dynamo makes a table of torch's functions.
        "_lazy_init": lambda: None,
        "synchronize": lambda *_: None,
        "empty_cache": lambda: None,
        "mem_get_info": lambda *_: (2**34, 2**34),
        "memory_reserved": lambda *_: 0,
        "memory_allocated": lambda *_: 0,
        "get_rng_state": lambda *_: torch.get_rng_state(),
        "set_rng_state": lambda *_: None,
        "get_device_name": lambda *_: "a pretended GPU",
    }
    torch._C._ensureCUDADeviceGuardSet()
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(values, device="cuda:0") then copies where a mode sees it
    with ExitStack() as stack:
        stack.enter_context(patch.multiple(torch.cuda, **cuda))
        stack.enter_context(patch.object(Tensor, "cuda", lambda self, *_, **__: self.to(GPU)))
        stack.enter_context(patch.object(captured, "recorder_for", lambda _: None))
        for module in [each for name, each in sys.modules.items() if name.startswith("underfire.")]:
            if hasattr(module, "suited_size"):
                stack.enter_context(patch.object(module, "suited_size", lambda *_: MULTIPLE))
        stack.enter_context(PretendedGPU())
        try:
            yield GPU
        finally:
            torch._C._set_only_lift_cpu_tensors(False)
