"""The output folder of ``underfire explain``."""

from __future__ import annotations

import json
import re
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from underfire.drawing.pictures import Pixels
from underfire.errors import StoreError
from underfire.reports.output import storing

MADE_BY = "underfire explain"
_OURS = re.compile(  # all paths that an explanation may have in its folder
    r"maps\.(json|safetensors|png)|images(/\d{6,}-[\w.-]*\.png)?|overlays(/[\w+-]+(/\d{6,}-[\w.-]*\.png)?)?", re.ASCII
)


class ExplainedFolder:
    """The output folder of ``underfire explain``: pictures, maps and their list.

    Creating the object only checks the folder. The files of an earlier call are deleted when the first picture is
    saved.

    Args:
        folder: the folder; made if it does not exist.
        overwrite: replace the files of an earlier call.

    Raises:
        StoreError: ``folder`` is a file, is not empty although ``overwrite`` is False, or holds files that
            ``underfire explain`` did not write.
    """

    def __init__(self, folder: Path, overwrite: bool = False) -> None:
        self.folder = folder
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
        self._clear = bool(held)

    def _check_ours(self) -> None:
        """Refuse a folder that holds anything that ``underfire explain`` did not write."""
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

    def _begin(self) -> None:
        """Delete the files of an earlier call, and mark the folder as one of ``underfire explain``; once."""
        if self._begun:
            return
        self._begun = True
        if self._clear:
            # maps.json is deleted last: without it, --overwrite would refuse the remaining files.
            for entry in sorted(self.folder.iterdir(), key=lambda entry: entry.name == "maps.json"):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        self.folder.mkdir(parents=True, exist_ok=True)
        # It is written first, so that --overwrite also replaces the files of an interrupted call.
        (self.folder / "maps.json").write_text(json.dumps({"made_by": MADE_BY, "finished": False}))

    def save_overlay(self, interpreter: str, place: int, image_id: str, pixels: Pixels) -> str:
        """Write the picture of a map as PNG.

        Args:
            interpreter: the interpreter's name, which may hold any characters.
            place: the image's number in the folder.
            image_id: the image's id.
            pixels: uint8 H x W x 3.

        Returns:
            The picture's path in the folder; different interpreters have different paths.

        Raises:
            StoreError: the folder cannot be written.
        """
        safe = re.sub(r"[^A-Za-z0-9+-]+", "_", interpreter)
        if re.search(r"[^\w:+-]", interpreter, re.ASCII) or len(safe) > 80:  # another name may turn into the same one
            safe = f"{safe[:60]}-{zlib.crc32(interpreter.encode()):08x}"
        return self.save_picture(f"overlays/{safe}", place, image_id, pixels)

    def save_picture(self, part: str, place: int, image_id: str, pixels: Pixels) -> str:
        """Write a picture as PNG into the subfolder ``part``; otherwise as ``save_overlay``."""
        safe = re.sub(r"[^A-Za-z0-9._-]+", "_", image_id).strip("._")[-80:]
        name = f"{part}/{place:06d}-{safe}.png"
        with storing(f"output folder {self.folder}"):
            self._begin()
            (self.folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(self.folder / name)
        return name

    def add_maps(self, image_id: str, maps: Mapping[str, Tensor]) -> None:
        """Keep an image's maps h x w, by interpreter, in memory until ``finish`` writes them."""
        for name, value in maps.items():
            self._maps[f"{name}/{image_id}"] = value.contiguous().clone()

    def finish(self, content: Mapping[str, Any], sheet: Image.Image) -> None:
        """Write the maps, the sheet, and ``maps.json``, which holds ``content`` and marks the folder as finished.

        Raises:
            StoreError: the folder cannot be written.
        """
        from safetensors.torch import save_file

        with storing(f"output folder {self.folder}"):
            self._begin()
            save_file(self._maps, self.folder / "maps.safetensors")
            sheet.save(self.folder / "maps.png")
            text = json.dumps({"made_by": MADE_BY, "finished": True, **content}, indent=2, allow_nan=False)
            (self.folder / "maps.json").write_text(text + "\n", encoding="utf-8")
