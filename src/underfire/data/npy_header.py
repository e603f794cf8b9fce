"""The header of ``.npy`` data, checked before anything is allocated: a broken one may claim any number of values."""

from __future__ import annotations

import math
from typing import IO

from numpy.lib import format as npy


def check_header(file: IO[bytes], size: int) -> None:
    """Check that ``.npy`` data hold as many bytes as their header claims, and go back to their begin.

    Args:
        file: the data, from their begin.
        size: the number of bytes that the data have in all.

    Raises:
        ValueError: the header is broken, or claims more values than there are.
    """
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    claimed, held = math.prod(shape) * dtype.itemsize, size - file.tell()
    if claimed > held and not dtype.hasobject:
        raise ValueError(f"its header claims an array of shape {shape} ({claimed} bytes), and {held} bytes follow")
    file.seek(0)
