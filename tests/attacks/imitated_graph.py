"""An imitation of a CUDA graph on a CPU: operations are noted once, and repeated on the same tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tests.attacks.test_no_sync import CHOSEN_BY_MASK, WAITING

Work = Callable[[], None]


class Tape(TorchDispatchMode):
    """A context that notes each operation with its tensors. What a GPU would have to be waited for is an error."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        masked = name in CHOSEN_BY_MASK and any(part is not None and part.dtype is torch.bool for part in args[1])
        if name in WAITING or masked:
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        output = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, output))
        return output

    @torch.no_grad()
    def repeat(self) -> None:
        """Make all operations again. Numbers that are no tensors are those of the recording, as in a CUDA graph."""
        for func, args, kwargs, output in self.calls:
            if func._schema.is_mutable:
                func(*args, **kwargs)
            elif not _is_view(output, args):
                for old, new in zip(tree_leaves(output), tree_leaves(func(*args, **kwargs)), strict=True):
                    if isinstance(old, Tensor):
                        old.copy_(new)


def _is_view(output: Any, args: Any) -> bool:
    places = {part.untyped_storage().data_ptr() for part in tree_leaves(args) if isinstance(part, Tensor)}
    return any(
        part.untyped_storage().data_ptr() in places - {0} for part in tree_leaves(output) if isinstance(part, Tensor)
    )


class ImitatedRecorder:
    """Records work on a CPU. ``tapes`` are the recordings so far, and ``repeats`` the number of repetitions."""

    def __init__(self) -> None:
        self.tapes: list[Tape] = []
        self.repeats = 0

    def record(self, work: Work, warm_up: Work) -> Work:
        for _ in range(2):
            warm_up()
        tape = Tape()
        with tape:
            work()
        self.tapes.append(tape)

        def repeat() -> None:
            self.repeats += 1
            tape.repeat()

        return repeat


class FailingRecorder:
    """A recorder that fails in the middle of the work, as a GPU does if it would have to be waited for."""

    def __init__(self) -> None:
        self.attempts = 0

    def record(self, work: Work, warm_up: Work) -> Work:
        self.attempts += 1
        warm_up()
        work()
        try:
            raise RuntimeError("operation not permitted when stream is capturing\nmore lines")
        finally:
            raise RuntimeError("the end of the recording fails, too")
