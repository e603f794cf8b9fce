"""Reading of a file that torch wrote, without running code in it."""

from __future__ import annotations

import pickletools
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from underfire.classifiers.sources.safe_types import allowing_harmless_types
from underfire.errors import InputError
from underfire.text import first_few

_PICKLES = 5
"""Before the zip format, torch wrote so many pickles into a file, and the tensors' values after them."""


def read_torch_file(path: Path) -> Any:
    """Read what ``torch.save`` wrote: tensors, and values of harmless types (see ``safe_types``).

    Raises:
        InputError: it is no such file; or it holds a whole network, TorchScript or other objects, which would run code.
    """
    check_torch_file(path)
    try:
        with allowing_harmless_types():
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises UnpicklingError, RuntimeError, EOFError, ... by what is broken
        why = " ".join(str(error).split())
        raise InputError(f"weights file {path} cannot be read ({type(error).__name__}): {why[:200]}") from error


def check_torch_file(path: Path) -> None:
    """Check, without reading any object, that ``path`` is a file of torch that can be read without running code.

    Raises:
        InputError: it is not; the message names the objects that would run code, and the lines that convert the file.
    """
    if not _may_be_torchs(path):
        raise InputError(
            f"weights file {path} is not a PyTorch or safetensors file. Expected what torch.save(network.state_dict"
            "(), FILE) writes, or a .safetensors file. Was it cut short, or is it a text that points to the file?"
        )
    if _is_torchscript(path):
        read = f'content = torch.jit.load({str(path)!r}, map_location="cpu")'
        raise InputError(
            f"weights file {path} holds TorchScript (torch.jit), which is code. Save the state dict alone, if you "
            "trust the file:\n" + _lines(read, "content.state_dict()")
        )
    unsafe = _unsafe_types(path)
    if not unsafe:
        return
    read = f'content = torch.load({str(path)!r}, map_location="cpu", weights_only=False)'
    if any(name.startswith("torch.nn.modules.") for name in unsafe):
        raise InputError(
            f"weights file {path} holds more than tensors, a whole pickled network ({first_few(unsafe)}), which would "
            "run code when read. Save the state dict alone, if you trust the file:\n"
            + _lines(read, "content.state_dict()")
            + '\nIf content is a dict that holds the network, take content["model"].state_dict() or the like.'
        )
    others = [name for name in unsafe if not name.startswith("omegaconf.") and name != "typing.Any"]
    if not others and find_spec("omegaconf") is None:
        raise InputError(
            f"weights file {path} holds settings of OmegaConf beside the tensors ({first_few(unsafe)}), which can be "
            "read if it is installed: pip install 'underfire[formats]'."
        )
    raise InputError(
        f"weights file {path} holds more than tensors, objects of the training script ({first_few(unsafe)}), which "
        "would run code when read. Save the state dict alone, if you trust the file:\n"
        + _lines(read, 'content["state_dict"]')
        + "\nprint(content.keys()) shows the keys, if the weights have another one."
    )


def _lines(read: str, weights: str) -> str:
    return f'    import torch\n    {read}\n    torch.save({weights}, "weights.pt")'


def _may_be_torchs(path: Path) -> bool:
    """Return True if a file begins like one of torch: a zip archive or a pickle, or a tar archive before 2018."""
    with path.open("rb") as file:
        start = file.read(2)
    return start == b"PK" or start[:1] == b"\x80" or tarfile.is_tarfile(path)


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.rpartition("/")[2] == "constants.pkl" for name in archive.namelist())


def _unsafe_types(path: Path) -> list[str]:
    """Name the types and functions in a file that are not known to be harmless. Nothing of the file is run."""
    with allowing_harmless_types():
        if zipfile.is_zipfile(path):
            try:
                return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(path))
            except Exception:  # a broken archive: reading it gives the reason
                return []
        allowed = {name for each in torch.serialization.get_safe_globals() for name in _names(each)}
    return sorted(name for name in _named_in_pickles(path) if name not in allowed and not _of_tensors(name))


def _names(allowed: Any) -> tuple[str, ...]:
    """Return the full name of a type that torch's reader accepts."""
    if isinstance(allowed, tuple):
        return (str(allowed[1]),)
    return (f"{allowed.__module__}.{allowed.__qualname__}",)


def _of_tensors(name: str) -> bool:
    """Return True for names that torch itself writes for tensors, such as ``torch.FloatStorage``."""
    module = name.rpartition(".")[0]
    return module in ("torch", "torch._utils", "torch.storage", "torch.nn.parameter") or name in (
        "collections.OrderedDict",
        "_codecs.encode",
    )


def _named_in_pickles(path: Path) -> set[str]:
    """Collect the types and functions that a file of pickles refers to, from its text alone."""
    found: set[str] = set()
    with path.open("rb") as file:
        for _ in range(_PICKLES):
            texts: list[str] = []
            try:
                for opcode, argument, _position in pickletools.genops(file):
                    if opcode.name == "GLOBAL":
                        found.add(str(argument).replace(" ", "."))
                    elif opcode.name == "STACK_GLOBAL":
                        found.add(".".join(texts[-2:]))
                    elif isinstance(argument, str):
                        texts.append(argument)
            except ValueError:  # no pickle begins here: the last one has been read
                break
    return found
