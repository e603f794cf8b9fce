"""Do interpreters of the user's own read an image alike, in any batch and at any time?

An analyst sees one map of an image. If it depended on the other images of its batch, or on luck, so would the verdict.
"""

from __future__ import annotations

import torch
from torch import Tensor

from underfire.errors import InterpreterError
from underfire.system import System
from underfire.user_parts import is_own

SOME = 4
"""At most so many images are read again."""
NEAR = 1e-3
"""A mean difference of two maps of one image that rounding may make, where an interpreter cuts at a value."""

_known: set[tuple[type, str]] = set()
"""The classes of interpreters that have been tried in this process, with their ``repr``, by which runs know parts."""


def check_steady(system: System, images: Tensor, classes: Tensor, ids: Tensor, maps: dict[str, Tensor]) -> None:
    """Read a few images again without the others, once for each interpreter of the user's own.

    Args:
        system: the system that read them.
        images: N x C x H x W.
        classes: int64 N, the classes that the maps explain.
        ids: int64 N.
        maps: the maps of all images by interpreter, N x h x w.

    Raises:
        InterpreterError: some map is another one now.
    """
    few = max(1, min(SOME, len(images) // 2))  # of a half, each image has other neighbours, and another place
    again = torch.arange(len(images) - 1, len(images) - 1 - few, -1, device=images.device)
    for name, interpreter in system.interpreters.items():
        key = type(interpreter), repr(interpreter)
        if not is_own(interpreter) or key in _known:
            continue
        single = system.only((name,))

        def read(rows: Tensor, name: str = name, single: System = single) -> Tensor:
            return single.maps(images[rows], classes[rows], ids[rows])[name]

        away = _away(read(again), maps[name][again])
        if away > NEAR:
            if _away(read(again), read(again)) > NEAR:
                why = (
                    "It draws random numbers, or keeps state: draw them by the ids of the images, with the functions "
                    "of underfire.randomness."
                )
            else:
                why = (
                    "It depends on the other images of its batch, or on the place in it: scale each map by itself, "
                    "such as by maps.amax((1, 2), keepdim=True) and not maps.max(), and draw random numbers by the "
                    "ids of the images, with the functions of underfire.randomness."
                )
            raise InterpreterError(
                f"interpreter {name!r} gives other maps for the same images in a second call (mean difference "
                f"{away:.2g}). {why} A verdict would be a matter of luck."
            )
        if len(images) > 1:  # one image has no neighbours
            _known.add(key)


def _away(first: Tensor, second: Tensor) -> float:
    """Return the largest mean difference of two maps of one image."""
    return float((first - second).abs().flatten(1).mean(1).max())
