"""Two processes never hold the lock of one folder, however their steps fall."""

import fcntl
from contextlib import ExitStack

import filelock
import pytest

from underfire.campaigns.folder import CampaignStore
from underfire.errors import StoreError
from underfire.runs.locking import LOCK, locked
from underfire.runs.store import Store


@pytest.mark.parametrize("store", [lambda path: Store(path, {}), lambda path: CampaignStore(path, resume=True)])
def test_who_takes_the_lock_at_its_release_keeps_it(store, tmp_path, monkeypatch):
    second, release = ExitStack(), filelock.FileLock.release

    def released(lock, *args, **kwargs):
        release(lock, *args, **kwargs)
        monkeypatch.undo()
        second.enter_context(store(tmp_path).working())  # whatever the first one still does comes after this

    with store(tmp_path).working():
        monkeypatch.setattr(filelock.FileLock, "release", released)
    with second, pytest.raises(StoreError, match="is in use"), store(tmp_path).working():
        pass
    assert not (tmp_path / LOCK).exists()


def test_a_file_that_was_removed_between_opening_and_locking_is_no_lock(tmp_path, monkeypatch):
    real = fcntl.flock

    def flock(handle, operation):
        monkeypatch.undo()
        (tmp_path / LOCK).unlink()  # the former holder ends now
        real(handle, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with ExitStack() as first:
        try:
            first.enter_context(locked(tmp_path, "runs"))
        except StoreError:
            return  # it says that the folder is in use, which it was a moment ago
        with pytest.raises(StoreError, match="is in use"), locked(tmp_path, "runs"):
            pass
