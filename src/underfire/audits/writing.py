"""The folder of an audit: the record, documents, and pictures of the worst images."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from underfire.audits.decision import Decision
from underfire.audits.documents import annex, images_hash, junit, model_card, title_of
from underfire.audits.result import Audit
from underfire.audits.standing import file_name
from underfire.drawing.pictures import Pixels, colour, fitted, overlay
from underfire.files import make_folder, replacing, write_text
from underfire.system import System
from underfire.version import __version__

SIDE = 128
"""Height and width of each part of a picture."""


def record(audit: Audit, decisions: Sequence[Decision] = ()) -> dict[str, Any]:
    """Convert an audit, its decisions and what happened to each image to values for JSON."""
    found = audit.to_dict()
    for each, result in zip(found["results"], audit.results, strict=True):
        distances = {name: [_number(one) for one in values.tolist()] for name, values in result.distances.items()}
        moved = [dict(zip(distances, row, strict=True)) for row in zip(*distances.values(), strict=True)]
        each["images"] = [
            {
                "id": name,
                "label": label,
                "correct": correct,
                "fooled": fooled,
                "another_class_by": wrong_by or None,
                "kept_by": kept_by or None,
                "map_l1": by_name if result.several else by_name[result.interpreter],
                "class": None if number < 0 else audit.name_of(number),
            }
            for name, label, correct, fooled, wrong_by, kept_by, by_name, number in zip(
                audit.ids,
                audit.labels,
                result.correct.tolist(),
                result.fooled.tolist(),
                result.wrong_by,
                result.kept_by,
                moved,
                result.classes,
                strict=True,
            )
        ]
    return {
        **found,
        "underfire": __version__,
        "torch": torch.__version__,
        "images_sha256": images_hash(audit),
        "classifier_sha256": audit.classifier_sha256,
        "decisions": [each.to_dict() for each in decisions],
    }


def write_audit(audit: Audit, decisions: Sequence[Decision], folder: Path) -> None:
    """Write ``audit.json``, ``annex.md``, ``model-card.md`` and, if there are decisions, ``junit.xml``.

    Without decisions, the ``junit.xml`` of an earlier gate is removed.

    Raises:
        StoreError: a file cannot be written.
    """
    make_folder(folder)
    texts = {
        "audit.json": json.dumps(record(audit, decisions), indent=1, allow_nan=False) + "\n",
        "annex.md": annex(audit, decisions),
        "model-card.md": model_card(audit),
    }
    if decisions:
        texts["junit.xml"] = junit(audit, decisions)
    else:
        (folder / "junit.xml").unlink(missing_ok=True)  # of an earlier gate
    for name, text in texts.items():
        write_text(folder / name, text)


def pictures_of(audit: Audit, system: System, folder: Path, count: int) -> Mapping[str, list[tuple[str, str]]]:
    """Draw the worst images of each result: clean and changed, each beside its map.

    Returns:
        For each result (``title_of``), the address of each picture in ``folder``, and what it shows.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for result in audit.results:
        places = audit.worst_images(result)[:count]
        own = found.setdefault(title_of(result), [])
        if not places:
            continue
        names, device = tuple(result.limits), system.classifier.device
        part = system.only(names)
        clean, changed = audit.clean[places], result.images[places]
        labels = torch.tensor([audit.labels[place] for place in places])
        classes = torch.tensor([result.classes[place] for place in places])
        before, after = (
            part.maps(images.to(device), wanted.to(device), audit.keys[places].to(device))
            for images, wanted in ((clean, labels), (changed, classes))
        )
        subfolder = folder / "worst"
        make_folder(subfolder)
        for row, place in enumerate(places):
            parts = [
                picture
                for image, maps in ((clean[row], before), (changed[row], after))
                for picture in _with_maps(image, [maps[name][row].cpu() for name in names])
            ]
            safe = f"{file_name(re.sub(r'[^A-Za-z0-9.-]+', '-', title_of(result)))}-{row}"
            with replacing(subfolder / f"{safe}.png") as file:
                Image.fromarray(np.concatenate(parts, axis=1)).save(file, format="png")
            moves = [
                f"{name if result.several else 'the map'} moved by {result.distances[name][place]:.3f} (limit "
                f"{result.limits[name].mean:.3f})"
                for name in names
            ]
            about = (
                f"{audit.ids[place]}: {audit.name_of(audit.labels[place])}, then "
                f"{audit.name_of(result.classes[place])}; {', '.join(moves)}"
            )
            own.append((f"worst/{safe}.png", about))
    return found


def _with_maps(image: Tensor, maps: Sequence[Tensor]) -> list[Pixels]:
    """Draw an image C x H x W, and each of its maps over it."""
    pixels = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()[..., :3]
    pixels = pixels[..., 0] if pixels.shape[2] < 3 else pixels
    shown = fitted(np.ascontiguousarray(pixels), SIDE)
    return [colour(shown), *(overlay(shown, values.float().numpy()) for values in maps)]


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
