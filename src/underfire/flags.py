"""Torch's global flags for float32 arithmetic and kernels: set for a while, and put back.

On GPUs torch computes float32 convolutions in TF32, with 10 bits of mantissa, unless it is told otherwise. Torch has
two interfaces for that, an older one (``allow_tf32``, ``set_float32_matmul_precision``) and a newer one
(``fp32_precision``), and raises errors once they contradict each other. So the flags are set through the interface that
is in force, which is the newer one only if somebody has used it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Literal

import torch

Arithmetic = Literal["ieee", "tf32"]
"""The arithmetic of float32 products: with all 23 bits of mantissa, or with 10 of them on hardware that has TF32."""

LEAVES = tuple((backend, operation) for backend in ("cuda", "mkldnn") for operation in ("matmul", "conv", "rnn"))
"""The operations that the newer interface has a flag for, by backend."""

FILLS = "fill_uninitialized_memory"
"""A flag of torch that costs time in deterministic mode: it fills new memory, whether or not it is needed."""


@contextmanager
def float32_arithmetic(arithmetic: Arithmetic) -> Iterator[None]:
    """Context in which float32 convolutions and matrix products are computed in ``arithmetic``.

    ``tf32`` concerns GPUs alone: on a CPU, all is computed with full precision.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer versions of torch warn of the older interface
        before = _newer()
        older = not _newer_in_force(before)
        legacy = (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) if older else None
        if older:
            _set_older("high" if arithmetic == "tf32" else "highest", arithmetic == "tf32")
        for leaf, value in _newer().items():
            wanted = "tf32" if arithmetic == "tf32" and leaf[0] == "cuda" else "ieee"
            if value != wanted and not (wanted == "ieee" and value == "none") and not (older and leaf[0] == "cuda"):
                _set_newer(leaf, wanted)
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if legacy is not None:
                _set_older(*legacy)
            for leaf, value in before.items():
                if _newer()[leaf] != value:
                    _set_newer(leaf, "none")  # the value of the whole backend counts again ...
                if _newer()[leaf] != value:
                    _set_newer(leaf, value)  # ... unless the operation had one of its own


@contextmanager
def deterministic_kernels(device: torch.device) -> Iterator[None]:
    """Context in which kernels on a GPU give the same bits each time, as far as torch has such kernels.

    On a CPU nothing changes: its kernels do so anyway.
    """
    if device.type == "cpu":
        yield
        return
    cudnn, filling = torch.backends.cudnn, torch.utils.deterministic
    before = cudnn.deterministic, cudnn.benchmark, getattr(filling, FILLS)
    mode = torch.are_deterministic_algorithms_enabled()
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    cudnn.deterministic, cudnn.benchmark = True, False
    setattr(filling, FILLS, False)
    if not mode:
        torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation.*")
            warnings.filterwarnings("ignore", message=".*CUBLAS_WORKSPACE_CONFIG.*")
            yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before[:2]
        setattr(filling, FILLS, before[2])
        torch.use_deterministic_algorithms(mode, warn_only=only_warns)


@contextmanager
def without_autocast() -> Iterator[None]:
    """Context in which no ``torch.autocast`` around it counts: all is computed in the dtypes that the code says."""
    with ExitStack() as stack:
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        yield


def in_force() -> dict[str, str | bool]:
    """Return the flags that are in force now, by name, for records of runs."""
    newer = {f"{backend}.{operation}": value for (backend, operation), value in _newer().items()}
    if not newer:
        older: dict[str, str | bool] = {
            "matmul": torch.get_float32_matmul_precision(),
            "cudnn.allow_tf32": torch.backends.cudnn.allow_tf32,
        }
    return {
        **(newer or older),
        "cudnn.deterministic": torch.backends.cudnn.deterministic,
        "cudnn.benchmark": torch.backends.cudnn.benchmark,
        "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
    }


def _newer() -> dict[tuple[str, str], str]:
    """Read all flags of the newer interface; empty if this version of torch has only the older one."""
    if not hasattr(torch._C, "_get_fp32_precision_getter"):
        return {}
    return {leaf: torch._C._get_fp32_precision_getter(*leaf) for leaf in LEAVES}


def _set_newer(leaf: tuple[str, str], value: str) -> None:
    torch._C._set_fp32_precision_setter(*leaf, value)


def _newer_in_force(flags: dict[tuple[str, str], str]) -> bool:
    """Return True if somebody has used the newer interface: torch refuses to read the older one then, or a backend has
    a value as a whole."""
    if not flags:
        return False
    if any(torch._C._get_fp32_precision_getter(backend, "all") != "none" for backend in ("generic", "cuda", "mkldnn")):
        return True
    try:
        torch.get_float32_matmul_precision()
        _ = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return True
    return False


def _set_older(matmul: str, convolutions: bool) -> None:
    torch.set_float32_matmul_precision(matmul)
    torch.backends.cudnn.allow_tf32 = convolutions
