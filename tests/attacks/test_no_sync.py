"""A step of an attack never waits for the device: what would make a GPU wait is refused here on the CPU.

Reading a value into Python, and shapes that depend on values, make the program wait for all work on a GPU; so does a
copy of Python's numbers to it. ``torch.cuda.set_sync_debug_mode`` finds the same on a GPU; see ``test_on_gpu.py``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import underfire as uf
from tests.attacks.test_cross_product import SETTINGS
from tests.conftest import smooth_images
from tests.interpreters.rts.makers import Attending, pyramid
from underfire.attacks import loop
from underfire.attacks.perturbations import PERTURBATIONS
from underfire.interpreters import REGISTRY

WAITING = {
    *("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal", "aten::masked_select"),
    *("aten::lift_fresh", "aten::_unique2", "aten::unique_dim", "aten::repeat_interleave.Tensor"),
}
CHOSEN_BY_MASK = {"aten::index", "aten::index_put", "aten::index_put_"}


class NoWaiting(TorchDispatchMode):
    """A context in which operations that a GPU would have to be waited for are errors."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        masked = name in CHOSEN_BY_MASK and any(part is not None and part.dtype is torch.bool for part in args[1])
        if name in WAITING or masked:
            raise AssertionError(f"{name} in a step: a GPU would have to be waited for")
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def strict_moves(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """All moves of attacks run under ``NoWaiting``; the list grows by one for each move."""
    made: list[str] = []
    move: Callable[..., None] = loop.Loop._move

    def strict(self: loop.Loop, stage: Any, *rest: Any) -> None:
        made.append(stage.name)
        if self.step:  # the first step may fill caches, such as the normalisation on the device
            with NoWaiting():
                return move(self, stage, *rest)
        return move(self, stage, *rest)

    monkeypatch.setattr(loop.Loop, "_move", strict)
    yield made


@pytest.mark.parametrize("perturbation", [name for name in PERTURBATIONS if name != "bim"])
@pytest.mark.parametrize("name", [name for name in REGISTRY if name != "rts"])
def test_no_step_waits(
    classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch, name: str, perturbation: str
) -> None:
    interpreter = REGISTRY[name](**SETTINGS.get(name, {}))
    attends = interpreter.family == "attention"
    classifier, images = (pyramid(kind=Attending), smooth_images(8, 32)) if attends else (classifier, smooth_images(8))
    labels = classifier.logits(images).argmax(1)
    system = uf.System(classifier, interpreter)
    ball = {"eps": 8 / 255} if PERTURBATIONS[perturbation]().has("eps") else {}
    for kind, more in (("adv2", {}), ("advedge+", {}), ("adv2", {"targeted": False})):
        attack = uf.attacks.preset(kind, perturbation=perturbation, steps=(2, 3), **ball, **more)
        with strict_moves(monkeypatch) as made:
            attack(system, images, labels, control=False)
        monkeypatch.undo()
        assert len(made) >= 5


def test_the_mode_finds_what_waits() -> None:
    values = torch.rand(4)
    for waits in (
        lambda: values[0].item(),
        lambda: values.nonzero(),
        lambda: values[values > 0.5],
        lambda: bool((values > 2).any()),
        lambda: torch.tensor([1.0, 2.0]),
        lambda: torch.nn.functional.one_hot(torch.tensor([0, 1]), 3),
    ):
        with pytest.raises(AssertionError, match="waited for"), NoWaiting():
            waits()
