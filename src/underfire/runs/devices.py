"""The device that a run uses, and those of a training in several processes."""

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


def find_devices(text: str) -> list[torch.device]:
    """Find several devices: a number of GPUs, or names such as ``cuda:0,cuda:2``; ``cpu,cpu`` is two processes.

    Raises:
        InputError: they cannot be used.
    """
    if text.strip().isdecimal():
        count, there = int(text), torch.cuda.device_count()
        if not 1 <= count <= there:
            raise InputError(
                f"devices is {text!r}. GPUs that PyTorch sees here: {there}. Give at most that number, or names of "
                "devices. To try two processes without a GPU, give cpu,cpu."
            )
        return [torch.device("cuda", number) for number in range(count)]
    names = [name.strip() for name in text.split(",")]
    if "auto" in names or "" in names:
        raise InputError(f"devices is {text!r}; expected a number of GPUs, or names such as cuda:0,cuda:2.")
    found = [find_device(name) for name in names]
    return [torch.device("cuda", each.index or 0) if each.type == "cuda" else each for each in found]
