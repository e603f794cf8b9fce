"""Does the view of a user's own interpreter give the map that the interpreter shows?

An attack follows the view, and the verdict reads the map. If they had little in common, every attack would fail, and
the interpreter would look robust.
"""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import nn

from underfire import metrics
from underfire.attacks.benign import Benign
from underfire.errors import UnderfireError, warn
from underfire.system import System, SystemView
from underfire.user_parts import is_own

SOME = 4
"""Views are read on at most so many images."""
ALIKE = 0.5
"""The least rank correlation of two maps that count as alike. Those of ``grad``, ``lrp`` and ``mask``, whose
views are smoothed or leave steps out, have .92 to .99 on ``cifar10-resnet20``."""

_known: WeakKeyDictionary[nn.Module, set[tuple[type, str]]] = WeakKeyDictionary()
"""By network, the classes of interpreters that have been tried in this process, with their ``repr``, by which runs know
parts."""


def warn_unlike(system: System, view: SystemView, benign: Benign) -> None:
    """Warn if the view of an interpreter of the user's own gives other maps; see ``unlike``.

    Args:
        system: its attacked interpreters are looked at. Each of the user's own is tried once in a process.
        view: what the attack reads.
        benign: the images with their honest maps.
    """
    known = _known.setdefault(system.classifier.module, set())
    for name, interpreter in system.attacked.items():
        key = type(interpreter), repr(interpreter)
        if is_own(interpreter) and key not in known and name in view.views:
            known.add(key)
            if said := unlike(name, view, benign):
                warn(said)


@torch.enable_grad()
def unlike(name: str, view: SystemView, benign: Benign) -> str:
    """Return a sentence that says how unlike a view's maps of benign images are to the honest ones; empty if alike."""
    some = benign.take(torch.arange(min(SOME, len(benign.images)), device=benign.images.device))
    view = SystemView(view.prepared, {name: view.views[name]})
    passes = view.prepared.forwards, view.prepared.backwards
    try:
        device = some.images.device
        with torch.random.fork_rng(
            [device] if device.type == "cuda" else []
        ):  # so that the first attack draws what later ones do
            states = view.begin(some.images, some.labels, some.ids)
            states = view.refresh(some.images, lambda _: some.labels, states)
            reading, _ = view.read(some.images.clone().requires_grad_(), lambda _: some.labels, states, graph=True)
            alike = float(metrics.map_spearman(reading.maps[name].detach().float(), some.maps[name]).median())
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, UnderfireError):
        return ""  # the attack probes its views, and says in words what is wrong
    finally:
        view.prepared.forwards, view.prepared.backwards = passes
    if alike >= ALIKE:
        return ""
    return (
        f"the view of interpreter {name!r} gives other maps of benign images than its read (median rank correlation "
        f"{alike:.2f} on {len(some.images)} of them). The attack follows the view, and the verdict reads the other: a "
        "failed attack says nothing about this interpreter."
    )
