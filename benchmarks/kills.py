"""Kill a campaign again and again at random moments, resume it each time, and compare it with an uninterrupted one.

    python -m benchmarks.kills [--kills 50] [--count 200] [--workers 2] [--ray] [--out runs/kills] [--seed 0]

The campaign attacks scenes with ADV2 in four runs: two interpreters times two radii, 16 cells. It is run once in one
process without an interruption. Then it is begun again elsewhere, and SIGKILL hits the process with all its children at
a random moment between its start and the time of a whole run. A fifth of the kills comes while ``--resume`` checks what
the folder holds. After half of the kills the folder moves to another path. A campaign that ends before its next kill is
compared, removed, and begun again.

With ``--ray``, a cluster of several nodes on this machine does the work, and SIGKILL hits in turn the command, one
worker process of Ray, and a whole node, which another node replaces. Only after the first is the campaign resumed.

Prints every kill and a verdict in one line. Exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.kills_compare import compare, manifests

CAMPAIGN = """name = "kills"

[settings]
data = "scenes:test"
classifier = "scenes-resnet"
attack = "adv2"
count = {count}
steps = [2, 4]

[grid]
interpreter = ["cam", "grad"]
eps = ["4/255", "8/255"]
"""

CHECKING = 0.7
"""Seconds after the start of checking in which a kill aims at ``--resume`` itself."""


def children(pid: int) -> list[int]:
    """List all processes that a process has started, and those that these have started."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            parents.setdefault(_parent(entry), []).append(int(entry.name))
    found, waiting = [], [pid]
    while waiting:
        new = parents.get(waiting.pop(), [])
        found += new
        waiting += new
    return found


def _parent(entry: Path) -> int:
    try:
        return int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended meanwhile
        return 0


def command_line(pid: int) -> str:
    """Return the command line of a process; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def kill(pid: int) -> bool:
    """Send SIGKILL to one process. Returns False if it has ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


class Bench:
    """A campaign that is killed and resumed.

    Args:
        asked: the arguments of the command line.
        folder: where everything is written.
    """

    def __init__(self, asked: argparse.Namespace, folder: Path) -> None:
        self.asked, self.folder, self.random = asked, folder, random.Random(asked.seed)
        self.file = folder / "kills.toml"
        self.file.write_text(CAMPAIGN.format(count=asked.count))
        self.whole, self.place = folder / "whole", folder / "killed"
        self.kinds, self.compared = Counter[str](), Counter[str]()
        self.differences: list[str] = []
        self.moved = False
        self.cluster: Any = None

    def start(self, out: Path, *more: str) -> subprocess.Popen[bytes]:
        """Start the command in a process group of its own."""
        words = [sys.executable, "-m", "underfire.cli", "run", str(self.file), "--out", str(out), "--no-page", *more]
        words += ["--batch-size", str(self.asked.batch_size)]
        with (self.folder / "said.txt").open("ab") as said:
            return subprocess.Popen(
                words,
                stdout=said,
                stderr=said,
                start_new_session=True,
                env={"OMP_NUM_THREADS": "1", **os.environ},
            )

    def engine(self) -> list[str]:
        """Return the options that choose the engine."""
        more = ["--workers", str(self.asked.workers)] if self.asked.workers > 1 else []
        return more if self.cluster is None else [*more, "--ray", self.cluster.address]

    def run(self) -> None:
        """Make the uninterrupted campaign, and then kill until there were enough kills."""
        started = time.perf_counter()
        self._ended(self.start(self.whole).wait())
        self.seconds = time.perf_counter() - started
        print(f"uninterrupted: {self.seconds:.1f} s, {manifests(self.whole)} shards of cells", flush=True)
        with self._cluster():
            while self.kinds.total() < self.asked.kills:
                self._round()
            self._ended(self.start(self.place, "--resume", *self.engine()).wait())
        self._compare()

    def _round(self) -> None:
        """Start the campaign, or go on with it, and kill it once, if it does not end before."""
        number = self.kinds.total()
        if number == self.asked.kills // 2 and not self.moved and self.place.exists():
            elsewhere = self.folder / "moved" / "to" / "another place"
            elsewhere.parent.mkdir(parents=True, exist_ok=True)
            self.place, self.moved = self.place.rename(elsewhere), True
        resumed, before = self.place.exists(), manifests(self.place)
        written = self._written()
        process = self.start(self.place, *(["--resume"] if resumed else []), *self.engine())
        if resumed and self.kinds["resume, checking"] < (number + 1) // 5:
            while process.poll() is None and self._written() == written:
                time.sleep(0.005)
            time.sleep(self.random.uniform(0, CHECKING))
        else:
            self._wait(process, self.random.uniform(0, self.seconds))
        if self.cluster is not None and number % 3 and process.poll() is None:
            self._harm(number, process)
            return
        if process.poll() is not None:
            self._ended(process.returncode)
            self._compare()
            shutil.rmtree(self.place)
            return
        for pid in [process.pid, *children(process.pid)]:
            kill(pid)
        process.wait()
        after = manifests(self.place)
        begun = self._written() != written
        kind = "starting" if not begun else "checking" if after == before else "at work"
        kind = f"{'resume' if resumed else 'first start'}, {kind}"
        self.kinds[kind] += 1
        print(f"kill {self.kinds.total()} ({kind}): {after} shards of cells complete", flush=True)

    def _harm(self, number: int, process: subprocess.Popen[bytes]) -> None:
        """Kill a worker of Ray or a node, and let the campaign end."""
        if number % 3 == 1:
            busy = [pid for pid in children(os.getpid()) if command_line(pid).startswith("ray::_do")]
            if busy and kill(self.random.choice(busy)):
                self._note("Ray worker")
        else:
            self.cluster.remove_node(self.nodes.pop(0), allow_graceful=False)
            self.nodes.append(self.cluster.add_node(num_cpus=1))
            self._note("Ray node")
        self._ended(process.wait())
        self._compare()
        shutil.rmtree(self.place)

    def _note(self, kind: str) -> None:
        self.kinds[kind] += 1
        print(f"kill {self.kinds.total()} ({kind}): {manifests(self.place)} shards of cells complete", flush=True)

    @contextmanager
    def _cluster(self) -> Iterator[None]:
        """Context with a Ray cluster of several nodes, if one is asked for."""
        if not self.asked.ray:
            yield
            return
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
        self.nodes = [self.cluster.add_node(num_cpus=1) for _ in range(max(2, self.asked.workers))]
        try:
            yield
        finally:
            self.cluster.shutdown()

    def _wait(self, process: subprocess.Popen[bytes], seconds: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)

    def _written(self) -> int:
        file = self.place / "campaign.json"
        return file.stat().st_mtime_ns if file.exists() else 0

    def _ended(self, code: int) -> None:
        if code:
            lines = (self.folder / "said.txt").read_text(errors="replace").splitlines()[-15:]
            raise SystemExit("\n".join([f"the campaign ended with exit code {code}:", *lines]))

    def _compare(self) -> None:
        counts, found = compare(self.whole, self.place)
        self.compared += Counter(counts) + Counter(campaigns=1)
        self.differences += found
        for each in found[:20]:
            print(f"DIFFERENT: {each}", flush=True)

    def verdict(self) -> str:
        """Return one line that says what was compared."""
        kinds = ", ".join(f"{count} x {kind}" for kind, count in sorted(self.kinds.items()))
        compared = ", ".join(f"{count} {name}" for name, count in sorted(self.compared.items()))
        ended = f"{len(self.differences)} DIFFERENCES" if self.differences else "all equal bit for bit"
        moved = ", moved once" if self.moved else ""
        return f"{self.kinds.total()} kills ({kinds}{moved}); compared {compared}: {ended}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--count", type=int, default=200, help="images of each run")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--ray", action="store_true", help="on a cluster of several nodes on this machine")
    parser.add_argument("--out", type=Path, default=Path("runs/kills"), help="a folder that does not exist yet")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of kills")
    parser.add_argument("--batch-size", type=int, default=8, help="images of each shard")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True)
    bench = Bench(asked, asked.out.resolve())
    bench.run()
    print(bench.verdict())
    sys.exit(1 if bench.differences else 0)


if __name__ == "__main__":
    main()
