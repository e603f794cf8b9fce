"""Values on the scale of benign images: how many standard deviations above their mean."""

from __future__ import annotations

from torch import Tensor

SMALLEST = 1e-6
"""The smallest standard deviation that values are divided by."""


def scale_of(values: Tensor, name: str) -> dict[str, Tensor]:
    """Return mean and standard deviation of benign values as tensors for a detector's state.

    Args:
        values: N x M values of benign images.
        name: the beginning of the tensors' names.
    """
    values = values.double()
    return {f"{name}/mean": values.mean(0), f"{name}/std": values.std(0, correction=0)}


def standardised(values: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    """Convert N x M values to standard deviations above the benign mean, float64 N x M."""
    return on_scale(values.double(), state, name)


def on_scale(values: Tensor, state: dict[str, Tensor], name: str) -> Tensor:
    """Convert values as ``standardised``, in their own precision, which is that of the tensors in ``state``."""
    return (values - state[f"{name}/mean"]) / state[f"{name}/std"].clamp_min(SMALLEST)
