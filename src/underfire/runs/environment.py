"""The environment of a run: machine, versions and arithmetic, as far as results may depend on them."""

from __future__ import annotations

import functools
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from underfire.classifiers import Attackable, Prepared
from underfire.flags import in_force
from underfire.numerics import attacking

PACKAGES = ("underfire", "torch", "numpy", "scipy", "pillow", "kornia")


def environment(prepared: Attackable, precision: str) -> dict[str, Any]:
    """Describe the machine, the versions and the arithmetic as JSON values, for ``run.json``.

    Args:
        prepared: the copy of the network that was attacked.
        precision: of the attacks.
    """
    assert isinstance(prepared, Prepared)  # a run attacks a copy
    device = prepared.device
    with attacking(precision, device):
        flags = in_force()
    return {
        "numerics": {
            "judged": "float32",
            "attack": precision,
            "memory_format": str(prepared.memory_format).removeprefix("torch."),
            "flags_of_the_attack": flags,
        },
        "device": {**device_of(device), "threads": torch.get_num_threads()},
        "versions": versions(),
        "torch_build": torch.__config__.show().splitlines(),
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that compute results, by name."""
    return {"python": platform.python_version()} | {package: _version(package) for package in PACKAGES}


@functools.cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"


def device_of(device: torch.device) -> dict[str, str]:
    """Describe a device: its ``type``, its ``name``, and for a CPU the ``instructions`` that torch uses."""
    if device.type == "cuda":
        return {"type": device.type, "name": torch.cuda.get_device_name(device)}
    name = platform.processor() or platform.machine()
    return {"type": device.type, "name": name, "instructions": torch.backends.cpu.get_cpu_capability()}
