"""The recorder of CUDA graphs, with torch's CUDA functions replaced: what is called in which order, also on failure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from underfire.attacks.captured import WARM_UP, CudaRecorder


class FakeStream:
    device_index = 0

    def __init__(self, name: str, log: list[str]) -> None:
        self.name, self.log = name, log

    def wait_stream(self, other: FakeStream) -> None:
        self.log.append(f"{self.name} waits for {other.name}")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls made; ``torch.cuda`` is an imitation, whose failing recordings leave their stream in force."""
    log: list[str] = []
    present, beside = FakeStream("present", log), FakeStream("beside", log)

    @contextmanager
    def on(stream: FakeStream) -> Iterator[None]:
        log.append(f"on {stream.name}")
        yield
        log.append(f"off {stream.name}")

    class Graph:
        def replay(self) -> None:
            log.append("replay")

    class Recording:
        def __init__(self, graph: Any, pool: Any, stream: FakeStream, *, capture_error_mode: str) -> None:
            assert isinstance(graph, Graph)
            assert (pool, stream, capture_error_mode) == ((0, 1), beside, "thread_local")

        def __enter__(self) -> None:
            log.append("begin")

        def __exit__(self, kind: Any, *_: Any) -> None:
            log.append("end")
            if kind is not None:
                raise RuntimeError("the recording is invalid")

    fakes = SimpleNamespace(
        Stream=lambda: beside,
        current_stream=lambda: present,
        stream=on,
        device=lambda device: on(present),
        CUDAGraph=Graph,
        graph=Recording,
        graph_pool_handle=lambda: (0, 1),
        set_stream=lambda stream: log.append(f"set {stream.name}"),
    )
    for name, value in vars(fakes).items():
        monkeypatch.setattr(torch.cuda, name, value)
    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", lambda device, pool: log.append("end pool"), raising=False)
    return log


def test_work_is_warmed_up_beside_recorded_and_repeated(log: list[str]) -> None:
    recorder = CudaRecorder(torch.device("cuda"))
    repeat = recorder.record(lambda: log.append("work"), lambda: log.append("warm up"))
    assert log == [
        *("on present", "beside waits for present", "on beside"),
        *["warm up"] * WARM_UP,
        *("off beside", "present waits for beside", "begin", "work", "end", "off present"),
    ]
    repeat()
    assert log[-1] == "replay"


def test_a_failed_recording_leaves_the_present_stream_in_force(log: list[str]) -> None:
    def waits() -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    with pytest.raises(RuntimeError, match="the recording is invalid"):
        CudaRecorder(torch.device("cuda")).record(waits, lambda: None)
    assert log[-3:] == ["end", "set present", "end pool"]
