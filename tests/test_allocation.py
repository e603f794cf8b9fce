"""The command line's processes keep freed memory; importing underfire changes nothing, and memory can be given back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from underfire.allocation import VARIABLES

MB = 10**6

CODE = """
import json, os, torch
from underfire.allocation import VARIABLES, give_back, keep_freed_memory
from underfire.memory import room, used_bytes
cpu = torch.device("cpu")
def held():
    "The bytes that stay with the process once eight tensors of 50 MB are freed."
    before = used_bytes(cpu)
    tensors = [torch.ones(12_500_000) for _ in range(8)]
    del tensors
    return used_bytes(cpu) - before
default = held()
keep_freed_memory()
kept, variables = held(), {name: os.environ.get(name) for name in VARIABLES}
before = used_bytes(cpu)
left = room(cpu, before)
print(json.dumps([default, kept, before - used_bytes(cpu), left, variables]))
"""


def tried(**environment: str) -> tuple[int, int, int, int, dict[str, str | None]]:
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    found = subprocess.run(
        [sys.executable, "-c", CODE], env=outside | environment, capture_output=True, text=True, check=True
    )
    default, kept, returned, left, variables = json.loads(found.stdout)
    return default, kept, returned, left, variables


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="used memory is read from /proc")
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    if "libc.so.6" not in Path("/proc/self/maps").read_text():
        pytest.skip("the C library is not glibc")
    default, kept, returned, left, variables = tried()
    assert default < 100 * MB
    assert kept > 350 * MB
    assert variables == VARIABLES, "processes that it starts do the same"
    assert returned > 350 * MB, "what is free can be counted"
    assert left > 350 * MB


def test_settings_of_the_user_are_left_alone() -> None:
    for name, value in (("MALLOC_MMAP_MAX_", "65536"), ("GLIBC_TUNABLES", "glibc.malloc.arena_max=4")):
        default, kept, _, _, variables = tried(**{name: value})
        assert max(default, kept) < 100 * MB
        assert variables == dict.fromkeys(VARIABLES) | ({name: value} if name in VARIABLES else {})
