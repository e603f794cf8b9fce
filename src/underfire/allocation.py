"""Memory that was freed is kept for the next step, where the C library is glibc.

By default glibc gives large blocks back to the system as soon as they are freed, and gets them anew, page by page and
filled with zeros. A step of an attack on photographs frees and takes gigabytes, and this is a tenth of its time
(``python -m benchmarks.allocation``). These settings are the process's own, so that the command line makes them, and
importing underfire does not. For a script, set the same variables in the shell.
"""

from __future__ import annotations

import ctypes
import os

VARIABLES = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**62)}
"""glibc's settings as environment variables, which processes read as they start: see ``man mallopt``."""

_MMAP_MAX, _TRIM_THRESHOLD = (-4, 0), (-1, -1)
"""The same settings as numbers and values of ``mallopt``; -1 turns trimming off."""


def keep_freed_memory() -> None:
    """Let this process, and those that it starts, keep freed memory.

    Nothing is changed if the user set the allocator: by any variable that begins with MALLOC_, or by GLIBC_TUNABLES.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return
    mallopt = _function("mallopt")
    if mallopt is not None and mallopt(*_MMAP_MAX) and mallopt(*_TRIM_THRESHOLD):
        os.environ.update(VARIABLES)


def give_back() -> None:
    """Give freed memory back to the system, so that it counts as free and other processes can use it."""
    trim = _function("malloc_trim")
    if trim is not None:
        trim(ctypes.c_size_t(0))


def _function(name: str) -> ctypes._NamedFuncPointer | None:
    """Return a function of the C library; None if it is another library, or another system, and has none."""
    try:
        found: ctypes._NamedFuncPointer = getattr(ctypes.CDLL(None), name)
    except (AttributeError, OSError, TypeError):
        return None
    return found
