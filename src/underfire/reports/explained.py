"""The folder that explanations are written to."""

from __future__ import annotations

import json
import re
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from underfire.errors import StoreError
from underfire.reports.pictures import Pixels

MADE_BY = "underfire explain"
_OURS = re.compile(
    r"maps\.(json|safetensors|png)|images(/\d{6,}-[\w.-]*\.png)?|overlays(/[\w+-]+(/\d{6,}-[\w.-]*\.png)?)?", re.ASCII
)


class ExplainedFolder:
    """Making one only checks the folder; what an earlier call left goes when the first picture comes.

    Raises:
        StoreError: the folder holds something and ``overwrite`` was not given, holds files of others, or cannot be
            written.
    """

    def __init__(self, folder: Path, overwrite: bool = False) -> None:
        self.folder = folder
        self._clear = False
        self._begun = False
        self._maps: dict[str, Tensor] = {}
        if folder.exists() and not folder.is_dir():
            raise StoreError(f"output folder {folder} is a file; give a folder.")
        held = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
        if held and not overwrite:
            named = ", ".join(held[:3]) + (", ..." if len(held) > 3 else "")
            raise StoreError(
                f"output folder {folder} is not empty ({named}): give --overwrite to replace earlier explanations in "
                "it, or another folder."
            )
        if held:
            self._check_ours()
            self._clear = True

    def _check_ours(self) -> None:
        inside = [(entry, entry.relative_to(self.folder).as_posix()) for entry in sorted(self.folder.rglob("*"))]
        foreign = [name for entry, name in inside if entry.is_symlink() or not _OURS.fullmatch(name)]
        try:
            made_by = json.loads((self.folder / "maps.json").read_text(encoding="utf-8"))["made_by"]
        except (OSError, ValueError, KeyError, TypeError):
            made_by = None
        if foreign or made_by != MADE_BY:
            what = ", ".join(foreign[:3]) or "no maps.json of 'underfire explain'"
            raise StoreError(
                f"output folder {self.folder} holds {what}: --overwrite replaces only what 'underfire explain' wrote. "
                "Choose another folder."
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(f"output folder {self.folder} cannot be written: {error.strerror or error}.") from error

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        if self._clear:
            # maps.json goes last: without it, nothing tells any more that the rest is ours.
            for entry in sorted(self.folder.iterdir(), key=lambda entry: entry.name == "maps.json"):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self.folder.mkdir(parents=True, exist_ok=True)
        # From the first file on, so that --overwrite also replaces what was cut off.
        (self.folder / "maps.json").write_text(json.dumps({"made_by": MADE_BY, "finished": False}))

    def save_overlay(self, interpreter: str, place: int, image_id: str, pixels: Pixels) -> str:
        """Write a picture of an interpreter's map, whose name may hold a path. Returns its path in the folder."""
        safe = re.sub(r"[^A-Za-z0-9+-]+", "_", interpreter)
        if re.search(r"[^\w:+-]", interpreter, re.ASCII) or len(safe) > 80:  # others may look like it now
            safe = f"{safe[:60]}-{zlib.crc32(interpreter.encode()):08x}"
        return self.save_picture(f"overlays/{safe}", place, image_id, pixels)

    def save_picture(self, part: str, place: int, image_id: str, pixels: Pixels) -> str:
        """Write a picture losslessly. Returns its path in the folder."""
        safe = re.sub(r"[^A-Za-z0-9._-]+", "_", image_id).strip("._")[-80:]
        name = f"{part}/{place:06d}-{safe}.png"
        with self._writing():
            self._begin()
            (self.folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(self.folder / name)
        return name

    def add_maps(self, image_id: str, maps: Mapping[str, Tensor]) -> None:
        """Keep the maps h x w of an image, by interpreter, for ``finish``."""
        for name, value in maps.items():
            self._maps[f"{name}/{image_id}"] = value.contiguous().clone()

    def finish(self, content: Mapping[str, Any], sheet: Image.Image) -> None:
        """Write maps, sheet, and ``maps.json`` with ``content``, which says that all is there."""
        from safetensors.torch import save_file

        with self._writing():
            self._begin()
            save_file(self._maps, self.folder / "maps.safetensors")
            sheet.save(self.folder / "maps.png", optimize=True)
            text = json.dumps({"made_by": MADE_BY, "finished": True, **content}, indent=2, allow_nan=False)
            (self.folder / "maps.json").write_text(text + "\n", encoding="utf-8")
