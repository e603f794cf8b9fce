"""The state of an audit of one interpreter at one radius: what the ensemble has found on each image so far."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from underfire.attacks.benign import Benign
from underfire.attacks.limits import Flags, Numbers
from underfire.errors import InputError


@dataclass
class Standing:
    """The findings on N images so far. Members of the ensemble are run one after the other, and added.

    Args:
        wrong: bool N, images for which another class was found.
        nearest: float64 N, the smallest map distance of an image of another class.
        gradients: int64 N, gradients taken so far.
        wrong_by, kept_by: the first members that found another class, and that with a kept map; empty if none.
        images: N x C x H x W, the image of another class with the nearest map; at first the clean image.
        classes: int64 N, its class; -1 at first.
        done: the members that have run.
    """

    wrong: Flags
    nearest: Numbers
    gradients: Numbers
    wrong_by: list[str]
    kept_by: list[str]
    images: Tensor
    classes: Tensor
    done: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, benign: Benign, smaller: Standing | None = None, limit: float = 0.0) -> Standing:
        """Begin with nothing found, or with what was found at a smaller radius, which lies in a larger ball, too.

        Args:
            benign: the clean images.
            smaller: the state at the next smaller radius.
            limit: the largest distance at which a map counts as kept at the new radius.
        """
        count = len(benign.images)
        if smaller is not None:
            kept = [
                (by or first) if near < limit else ""
                for by, first, near in zip(smaller.kept_by, smaller.wrong_by, smaller.nearest.tolist(), strict=True)
            ]
            return cls(
                smaller.wrong.copy(),
                smaller.nearest.copy(),
                np.zeros(count, dtype=np.int64),
                list(smaller.wrong_by),
                kept,
                smaller.images.clone(),
                smaller.classes.clone(),
            )
        return cls(
            np.zeros(count, dtype=bool),
            np.full(count, np.inf),
            np.zeros(count, dtype=np.int64),
            [""] * count,
            [""] * count,
            benign.images.cpu().clone(),
            torch.full((count,), -1),
        )

    def add(
        self,
        member: str,
        places: Tensor,
        images: Tensor,
        classes: Tensor,
        wrong: Tensor,
        distance: Tensor,
        limit: float,
        gradients: int,
    ) -> None:
        """Add what a member found.

        Args:
            member: its name.
            places: int64 M, the images that it attacked.
            images: M x C x H x W, what it ended with.
            classes: int64 M, the classes that their maps were read for.
            wrong: bool M, images of another class.
            distance: M map distances.
            limit: the largest distance at which a map counts as kept.
            gradients: the gradients that were taken for each image.
        """
        for row, place in enumerate(places.tolist()):
            self.gradients[place] += gradients
            if not bool(wrong[row]):
                continue
            self.wrong[place] = True
            self.wrong_by[place] = self.wrong_by[place] or member
            near = float(distance[row])
            if near < limit:
                self.kept_by[place] = self.kept_by[place] or member
            if near < self.nearest[place]:
                self.nearest[place] = near
                self.images[place] = images[row].cpu()
                self.classes[place] = classes[row].cpu()
        self.done.append(member)

    def save(self, path: Path, logits: Tensor, made_by: str = "") -> None:
        """Write the state to a file of plain arrays, whole or not at all.

        Args:
            logits: the logits of the clean images, by which the state knows classifier and images.
            made_by: the settings of the audit, in words.
        """
        part = path.with_suffix(".part")
        with part.open("wb") as file:
            np.savez_compressed(
                file,
                wrong=self.wrong,
                nearest=self.nearest,
                gradients=self.gradients,
                wrong_by=np.array(self.wrong_by, dtype=np.str_),
                kept_by=np.array(self.kept_by, dtype=np.str_),
                images=(self.images * 255).round().to(torch.uint8).numpy(),
                classes=self.classes.numpy(),
                done=np.array(self.done, dtype=np.str_),
                logits=logits.cpu().numpy(),
                made_by=np.array(made_by, dtype=np.str_),
            )
        part.replace(path)

    @classmethod
    def load(cls, path: Path, benign: Benign, made_by: str = "") -> Standing | None:
        """Read a state back; None if there is no file.

        Raises:
            InputError: the file is damaged, or belongs to other images, to another classifier, or to other settings.
        """
        if not path.exists():
            return None
        try:
            with np.load(path) as found:
                arrays = {name: found[name] for name in found.files}
            logits, before = arrays["logits"], str(arrays["made_by"])
            images = torch.from_numpy(arrays["images"]).float() / 255
            state = cls(
                arrays["wrong"],
                arrays["nearest"],
                arrays["gradients"],
                [str(each) for each in arrays["wrong_by"]],
                [str(each) for each in arrays["kept_by"]],
                images,
                torch.from_numpy(arrays["classes"]),
                [str(each) for each in arrays["done"]],
            )
        except (OSError, EOFError, KeyError, ValueError, BadZipFile, zlib.error) as error:
            raise InputError(
                f"{path} cannot be read ({error}): remove it, and its part of the audit is made again."
            ) from error
        if before != made_by:
            raise InputError(
                f"{path} was made with other settings ({before}; now {made_by}): give another folder, or remove "
                "the file."
            )
        own = benign.logits.cpu().numpy()
        if logits.shape != own.shape or not np.allclose(logits, own, rtol=1e-3, atol=1e-3):
            raise InputError(
                f"{path} belongs to other images, or to another classifier: give another folder (out), or remove it."
            )
        return state
