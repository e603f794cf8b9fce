"""Let a CUDA build of torch run on a Linux machine without the CUDA libraries, for tests on the CPU.

PyPI's wheels of older torch for Linux on x86-64 are CUDA builds. They refuse to be imported without 3 GB of libraries
that no test on the CPU calls. This script puts empty libraries in their place: each function that torch looks for is
there and answers "no device", so that torch finds no GPU. It changes the torch of the Python that runs it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tempfile
from collections import defaultdict
from pathlib import Path

CUDA = re.compile(r"(lib)?(cu|nccl|nvrtc|nvtx)")
NO_DEVICE = "int {}(void) {{ return 100; }}\n"


def output(*command: object) -> list[str]:
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout.splitlines()


def missing(folder: Path) -> dict[str, set[str]]:
    """List the functions that the libraries in ``folder`` want from each CUDA library that is not there.

    A function's version is the name of its library. Functions without a version, such as NCCL's, may come from any
    library: they are listed for each.
    """
    wanted: dict[str, set[str]] = defaultdict(set)
    anywhere = set()
    for file in folder.glob("*.so"):
        for line in output("readelf", "--dynamic", "--wide", file):
            needed = re.search(r"\(NEEDED\).*\[(.+)\]", line)
            if needed and CUDA.match(needed[1]):
                wanted[needed[1]]  # a library without functions of its own has to be there, too
        for line in output("nm", "--dynamic", "--undefined-only", file):
            name, _, version = line.split()[-1].partition("@")
            if CUDA.match(version):
                wanted[version].add(name)
            elif not version and CUDA.match(name):
                anywhere.add(name)
    return {library: names | anywhere for library, names in wanted.items() if not (folder / library).exists()}


def main() -> None:
    folder = Path(sysconfig.get_path("platlib")) / "torch" / "lib"
    with tempfile.TemporaryDirectory() as work:
        source, versions = Path(work) / "empty.c", Path(work) / "versions"
        for library, names in missing(folder).items():
            source.write_text("".join(map(NO_DEVICE.format, sorted(names))))
            versions.write_text(f"{library} {{ global: *; }};")
            flags = ["-shared", "-w", f"-Wl,-soname,{library}", f"-Wl,--version-script,{versions}"]
            output("gcc", *flags, source, "-o", folder / library)


if __name__ == "__main__" and sys.platform == "linux":
    main()
