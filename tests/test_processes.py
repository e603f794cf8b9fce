"""Groups of processes: the parts of a batch, the devices, and the error that ends a group.

What processes compute together is tested where trainings are: ``tests/defenses/test_processes.py``.
"""

from __future__ import annotations

import os

import pytest
import torch

from underfire.campaigns.engines.processes import Processes
from underfire.errors import DataError, InputError
from underfire.launching import check_devices, launch, new_processes
from underfire.processes import Group, joined

CPU = torch.device("cpu")


def fails(group: Group) -> None:
    if group.number == 1:
        raise DataError("no image of process 1 can be read.")
    group.sum(torch.ones(1))
    group.sum(torch.ones(1))


def test_the_error_of_the_process_that_failed_is_raised() -> None:
    """The other process waits for it, and only knows that it is gone."""
    with pytest.raises(DataError, match="no image of process 1 can be read"):
        launch((CPU, CPU), fails)


def variable(group: Group) -> str | None:
    return os.environ.get("UNDERFIRE_TEST")


def test_processes_have_the_environment_of_today(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process that they come from may be older than a variable."""
    new_processes(__name__).Process(target=os.getpid).start()
    monkeypatch.setenv("UNDERFIRE_TEST", "here")
    assert launch((CPU, CPU), variable) == "here"
    with Processes(1)._pool() as pool:
        assert pool.submit(os.getenv, "UNDERFIRE_TEST").result() == "here"


def test_a_build_without_nccl_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows. Regression: the error said that another process had ended."""
    monkeypatch.setattr(torch.distributed, "is_nccl_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    with pytest.raises(InputError, match="device is cuda:0, and this build of PyTorch has no NCCL"):
        joined(0, 1, torch.device("cuda", 0)).__enter__()


@pytest.mark.parametrize(("count", "images"), [(1, 1), (2, 5), (3, 4), (4, 64)])
def test_parts_make_the_whole_batch(count: int, images: int) -> None:
    parts = [Group(number, count, CPU).part(images) for number in range(count)]
    assert [row for part in parts for row in range(images)[part.rows]] == list(range(images))
    assert all(part.weight == len(range(images)[part.rows]) / images > 0 for part in parts)


@pytest.mark.parametrize("names", ["cpu,cuda:0", "cuda:1,cuda:1", "mps,mps"])
def test_devices_that_make_no_group_are_refused(names: str) -> None:
    with pytest.raises(InputError, match=f"devices are '{names}'"):
        check_devices([torch.device(name) for name in names.split(",")])
