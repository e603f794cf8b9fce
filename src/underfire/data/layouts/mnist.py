"""MNIST's original files, and those of data sets in the same form (Fashion-MNIST, KMNIST): ``t10k-images-idx3-ubyte``.

LeCun et al. 1998, http://yann.lecun.com/exdb/mnist.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np

from underfire.data.arrays import array_data, chosen_split
from underfire.data.dataset import ImageData
from underfire.data.layouts.layout import Layout, found_below
from underfire.data.options import DataOptions
from underfire.data.places import files_in
from underfire.errors import DataError

_FILE = re.compile(r"(train|t10k|test)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")


def _open(path: Path, options: DataOptions) -> ImageData | None:
    folder = found_below(path, lambda place: bool(_splits(place)))
    if folder is None:
        return None
    found = _splits(folder)
    split = chosen_split(options.split, list(found), folder)
    images, labels = (_read(folder / found[split][part]) for part in ("images", "labels"))
    layout = f"MNIST's original files, {split} images"
    named = folder if folder == path else folder.parent
    return array_data(folder, images, labels, name=f"{named.resolve().name}-{split}", layout=layout)


def _splits(folder: Path) -> dict[str, dict[str, str]]:
    """Return the two files of each split that has both."""
    found: dict[str, dict[str, str]] = {}
    for name in files_in(folder):
        match = _FILE.fullmatch(name)
        if match is not None:
            found.setdefault("train" if match[1] == "train" else "test", {}).setdefault(match[2], name)
    return {split: files for split, files in found.items() if len(files) == 2}


def _read(path: Path) -> Any:
    """Read an array of bytes in the IDX format: two zeros, the type 8, the number of axes, and their lengths."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    axes = content[3] if content[:3] == b"\0\0\x08" and len(content) > 3 else 0
    shape = tuple(np.frombuffer(content[4 : 4 + 4 * axes], ">u4").tolist())
    if not axes or len(content) != 4 + 4 * axes + int(np.prod(shape)):
        raise DataError(f"{path} is not a complete file of the IDX format with bytes.")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)


LAYOUT = Layout("MNIST's original files", _open, ("split",))
