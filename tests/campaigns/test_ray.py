"""Campaigns on a Ray cluster of several nodes, of which a worker and a whole node are lost in mid-run."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.kills import children, command_line, kill
from benchmarks.kills_compare import compare, manifests
from tests.campaigns.campaign import EVADING, fit_class_map, run_inline, wait_for, write_campaign
from underfire.campaigns.engines.base import Done, Stop
from underfire.campaigns.engines.on_ray import OnRay
from underfire.campaigns.units import Hands, Unit
from underfire.errors import InputError

ray = pytest.importorskip("ray", reason="ray is not installed: pip install 'underfire[ray]'")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A cluster of a head without cores and of two nodes with one core each."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    made.nodes = [made.add_node(num_cpus=1) for _ in range(2)]
    former = signal.getsignal(signal.SIGTERM)
    ray.init(address=made.address, log_to_driver=False, configure_logging=False)
    yield made
    ray.shutdown()
    signal.signal(signal.SIGTERM, former)
    made.shutdown()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_campaign(tmp_path_factory.mktemp("file"))


@pytest.fixture(scope="module")
def whole(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The campaign, run by one process."""
    return run_inline(file, tmp_path_factory.mktemp("whole") / "out").path


def kill_worker(cluster: Any) -> None:
    """Kill a process in which Ray does a unit."""
    busy: list[int] = []

    def found() -> bool:
        busy[:] = [pid for pid in children(os.getpid()) if command_line(pid).startswith("ray::_do")]
        return bool(busy) and kill(busy[0])

    wait_for(found)


def remove_node(cluster: Any) -> None:
    """Take a node away, with the units in its hands."""
    cluster.remove_node(cluster.nodes.pop(), allow_graceful=False)


@pytest.mark.parametrize("harm", [kill_worker, remove_node])
def test_a_lost_worker_and_a_lost_node_cost_nothing_but_time(
    harm: Callable[[Any], None], cluster: Any, file: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # workers must find a relative folder, too
    place, done = Path("out"), list[int]()

    def do_harm() -> None:
        wait_for(lambda: manifests(tmp_path / place) >= 3)
        harm(cluster)
        done.append(manifests(tmp_path / place))

    beside = threading.Thread(target=do_harm)
    beside.start()
    ended = run_inline(file, place, OnRay(workers=2))
    beside.join()
    assert done[0] < manifests(whole), "the loss came too late for this test"
    assert [(entry.state, entry.error) for entry in ended] == [("finished", "")] * 2
    counts, differences = compare(whole, place)
    assert not differences
    assert counts["rows"] == 2 * 16 * 4


@dataclass(frozen=True)
class Elsewhere:
    """Ray on machines that do not have the detector: its folder is away while they work."""

    detector: Path

    def perform(self, units: Sequence[Unit], done: Done, stop: Stop, hands: Hands) -> None:
        aside = self.detector.rename(self.detector.with_name("aside"))
        try:
            OnRay(workers=1).perform(units, done, stop, hands)
        finally:
            aside.rename(self.detector)


def test_a_detector_to_evade_travels_to_machines_that_do_not_have_it(cluster: Any, tmp_path: Path) -> None:
    detector = tmp_path / "class-map"
    fit_class_map(90).save(detector)
    file = write_campaign(tmp_path, EVADING.replace("count = 16", "count = 4").format(detector))
    whole = run_inline(file, tmp_path / "whole")
    ended = run_inline(file, tmp_path / "out", Elsewhere(detector))
    assert [(entry.state, entry.error) for entry in ended] == [("finished", "")] * 2
    counts, differences = compare(whole.path, tmp_path / "out")
    assert not differences
    assert counts["rows"] == 2 * 4 * 4


def test_an_address_where_no_cluster_is_gives_one_readable_error(
    cluster: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)

    def refuse(**options: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as ray.init puts its own handler in place
        raise ConnectionError(f"nobody at {options['address']}")

    monkeypatch.setattr(ray, "init", refuse)
    former = signal.getsignal(signal.SIGTERM)
    with pytest.raises(InputError, match="and no cluster answers there: nobody at"):
        run_inline(file, tmp_path / "out", OnRay("127.0.0.1:1"))
    assert signal.getsignal(signal.SIGTERM) is former
