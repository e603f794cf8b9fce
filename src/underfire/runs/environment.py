"""The environment of a run: machine, versions and arithmetic, as far as results may depend on them."""

from __future__ import annotations

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
    versions: dict[str, str] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed as a package"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    with attacking(precision, device):
        flags = in_force()
    return {
        "numerics": {
            "judged": "float32",
            "attack": precision,
            "memory_format": str(prepared.memory_format).removeprefix("torch."),
            "flags_of_the_attack": flags,
        },
        "device": {"type": device.type, "name": name, "threads": torch.get_num_threads()},
        "versions": {"python": platform.python_version(), **versions},
        "torch_build": torch.__config__.show().splitlines(),
    }
