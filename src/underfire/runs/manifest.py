"""Manifests: one small file for each shard of a cell, which lists the shard's files with their sizes and hashes.

A manifest is written last, after all files of its shard are safely on the disk. So a shard is complete if, and only if,
its manifest is there, and a later start can see whether any of its files was lost or changed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from underfire.errors import StoreError
from underfire.runs.disk import replace, sync, sync_folder

SUFFIX = "json"
"""The suffix of a manifest. Its name is the number of its shard."""


def manifest_file(folder: Path, key: str, index: int) -> Path:
    """Return the path of the manifest of shard ``index`` of the cell ``key``."""
    return folder / "cells" / key / f"{index:06d}.{SUFFIX}"


def write(folder: Path, key: str, index: int, files: Sequence[str], positions: Sequence[int]) -> None:
    """Write the manifest of a shard, after everything that it lists is safely on the disk.

    Args:
        folder: the run's folder.
        key: the cell's key.
        index: the shard's number.
        files: the shard's files: paths relative to the run's folder, with ``/``.
        positions: the places of its images among those that the run looked at.

    Raises:
        OSError: a file is missing, or the disk is full.
    """
    entries = entries_of(folder, files)
    for name in files:
        sync(folder / name)
    path = manifest_file(folder, key, index)
    parents = {(folder / name).parent for name in files} | {path.parent}
    if not any(path.parent.glob(f"*.{SUFFIX}")):  # the first shard of the cell: its folders are new
        parents |= {parent.parent for parent in parents} | {folder}
    for parent in sorted(parents):
        sync_folder(parent)
    content = {"cell": key, "shard": index, "positions": list(positions), "files": entries}
    text = json.dumps({**content, "sha256": digest_of(content)}, indent=1) + "\n"
    replace(path, lambda part: part.write_text(text, encoding="utf-8"))
    sync_folder(path.parent)


def entries_of(folder: Path, files: Iterable[str]) -> list[dict[str, Any]]:
    """Describe files of a run's folder: ``file`` (the relative path), ``bytes`` and ``sha256`` of each.

    Raises:
        OSError: a file cannot be read.
    """
    found = []
    for name in files:
        with (folder / name).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            found.append({"file": name, "bytes": os.fstat(file.fileno()).st_size, "sha256": digest})
    return found


def read(folder: Path, key: str, index: int) -> dict[str, Any]:
    """Read the manifest of a shard.

    Returns:
        Its content: ``cell``, ``shard``, ``positions``, ``files`` (see ``entries_of``) and ``sha256``.

    Raises:
        StoreError: it is missing, broken, or belongs to another shard.
    """
    path = manifest_file(folder, key, index)
    name = path.relative_to(folder).as_posix()
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise StoreError(f"{name} is missing") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{name} cannot be read") from error
    if not isinstance(content, dict) or content.pop("sha256", None) != digest_of(content):
        raise StoreError(f"{name} was changed")
    if (content.get("cell"), content.get("shard")) != (key, index):
        raise StoreError(f"{name} is the list of another part")
    return content


def verify(folder: Path, key: str, index: int, positions: Sequence[int] | None = None) -> list[str]:
    """Check that a shard is complete, and that each of its files is as it was written.

    Args:
        folder: the run's folder.
        key: the cell's key.
        index: the shard's number.
        positions: the places of the images that the shard must hold; not checked if None.

    Returns:
        The problems in words, such as ``images/bim/000000-a.png is missing``; empty if all is well.
    """
    try:
        content = read(folder, key, index)
    except StoreError as error:
        return [str(error)]
    if positions is not None and content["positions"] != list(positions):
        return [f"{manifest_file(folder, key, index).relative_to(folder).as_posix()} lists other images"]
    return changes(folder, content["files"])


def changes(folder: Path, entries: Iterable[Any]) -> list[str]:
    """List in words which files are not as ``entries_of`` described them; empty if all are."""
    problems = []
    for entry in entries:
        problem = _problem(folder, entry)
        if problem:
            problems.append(problem)
    return problems


def _problem(folder: Path, entry: Any) -> str | None:
    if not isinstance(entry, dict) or not {"file", "bytes", "sha256"} <= entry.keys():
        return f"the entry {entry!r:.60} describes no file"
    name = str(entry["file"])
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts:
        return f"{name} lies outside of the run's folder"
    path = folder / name
    if path.is_symlink():
        return f"{name} is a link"
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size != entry["bytes"]:
                return f"{name} has {size} bytes instead of {entry['bytes']}"
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return f"{name} is missing"
    except OSError as error:
        return f"{name} cannot be read ({error.strerror or error})"
    return None if digest == entry["sha256"] else f"{name} was changed"


def digest_of(content: Any) -> str:
    """Return the SHA-256 of JSON values, which does not depend on the order of keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
