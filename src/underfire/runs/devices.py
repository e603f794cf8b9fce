"""The device that a run uses."""

from __future__ import annotations

import torch

from underfire.errors import InputError


def find_device(name: str) -> torch.device:
    """Find the device called ``name``; for ``auto``, a GPU if there is one. Raises InputError if it cannot be used."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).tolist()
    except (RuntimeError, AssertionError) as error:
        there = ", ".join(("auto", "cpu", *(f"cuda:{number}" for number in range(torch.cuda.device_count()))))
        seen = "" if torch.cuda.is_available() else " (PyTorch sees no GPU here)"
        raise InputError(f"device is {name!r}; expected one of {there}{seen}.") from error
    return device
