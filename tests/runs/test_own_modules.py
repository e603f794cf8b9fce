"""How a user's file is run: from its source, with the modules beside it, and without a trace in its folder."""

from __future__ import annotations

import compileall
import os
import py_compile
import sys
import threading
from pathlib import Path

import pytest

from underfire import user_files


def test_an_edit_within_a_second_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytecode that Python has kept looks like that of the edited file: equal size, equal second."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path, beside, within = tmp_path / "own.py", tmp_path / "own_helper.py", tmp_path / "own_package" / "part.py"
    within.parent.mkdir()
    for value in (1, 2):
        beside.write_text(f"HELPED = {value}\n")
        within.write_text(f"PART = {value}\n")
        path.write_text(f"from own_helper import HELPED\nfrom own_package.part import PART\nVALUE = {value}\n")
        for each in (path, beside, within):
            os.utime(each, (1_000_000, 1_000_000))
        if value == 1:  # as plain Python, or an editor, leaves it
            assert compileall.compile_dir(tmp_path, quiet=1)
        for name in ("VALUE", "HELPED", "PART"):
            assert user_files.load(str(path), name, "measure") == value, name
    hooks, finders = list(sys.path_hooks), set(sys.path_importer_cache)
    user_files.load(str(path), "VALUE", "measure")
    assert list(sys.path_hooks) == hooks
    assert not {entry for entry in sys.path_importer_cache if entry.startswith(str(tmp_path))} - finders


def test_a_helper_may_be_bytecode_alone(tmp_path: Path) -> None:
    (tmp_path / "own_helper.py").write_text("HELPED = 3\n")
    py_compile.compile(str(tmp_path / "own_helper.py"), str(tmp_path / "own_helper.pyc"))
    (tmp_path / "own_helper.py").unlink()
    (tmp_path / "own.py").write_text("from own_helper import HELPED\n")
    assert user_files.load(str(tmp_path / "own.py"), "HELPED", "measure") == 3


def test_a_file_is_loaded_while_another_thread_imports(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("VALUE = 1\n")
    done = threading.Event()

    def change() -> None:
        while not done.is_set():
            for number in range(50):
                sys.path_importer_cache[f"{tmp_path}/{number}"] = None
            for number in range(50):
                sys.path_importer_cache.pop(f"{tmp_path}/{number}", None)

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(50):
            assert user_files.load(str(tmp_path / "own.py"), "VALUE", "measure") == 1
    finally:
        done.set()
        thread.join()


def test_a_file_writes_no_bytecode_beside_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    (tmp_path / "own_helper.py").write_text("HELPED = 1\n")
    (tmp_path / "own.py").write_text("from own_helper import HELPED\n")
    assert user_files.load(str(tmp_path / "own.py"), "HELPED", "measure") == 1
    assert sorted(each.name for each in tmp_path.iterdir()) == ["own.py", "own_helper.py"]


def test_a_file_knows_its_whole_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own.py").write_text("PLACE = __file__\n")
    monkeypatch.chdir(tmp_path)
    assert user_files.load("own.py", "PLACE", "measure") == str(tmp_path / "own.py")
