"""Try every interpreter on a classifier: its honest maps, their gradients, and the time of a step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from underfire.attacks.alike import unlike
from underfire.attacks.batch_size import size_for, step_bytes
from underfire.attacks.benign import Benign, honest_logits
from underfire.attacks.probe import probe_views
from underfire.attacks.steady import check_steady
from underfire.check.network_parts import NetworkParts, find_parts
from underfire.check.sanity import IMAGES, Sanity, look_at, moved_by_seed, read_few, shuffled_copy
from underfire.check.speed import Speed, measure_speed
from underfire.classifiers import Classifier, Prepared
from underfire.errors import NoGradientError, UnderfireError, UnderfireWarning
from underfire.interpreters import REGISTRY, create
from underfire.randomness import identities
from underfire.system import System, SystemView, works_in_place
from underfire.user_parts import is_own, naming

FEWEST, BYTES = 2, 10**9
"""A joint step is timed on as many images as take so many bytes by the count, and on two at least."""

PATIENCE = 8_000
"""The number of milliseconds that maps with another seed may take, by the times of a joint step and of a solver."""


@dataclass(frozen=True)
class InterpreterTrial:
    """The outcome of a trial of one interpreter.

    Args:
        name: the interpreter's name.
        works: True if a joint attack on it can run.
        problem: the reason if it does not work.
        module: the part of the network that has no second derivative, if that is the reason and it is known.
        speed: times, if it works.
        sanity: what its maps depend on, and if they point at the object, if it works and is quick.
        moved_by_seed: the distance to its maps with another seed; None if it does not work, or would take seconds.
        other_view: a sentence that warns of a view, of the user's own interpreter, with other maps; empty if it works.
    """

    name: str
    works: bool
    problem: str | None = None
    module: str | None = None
    speed: Speed | None = None
    sanity: Sanity | None = None
    moved_by_seed: float | None = None
    other_view: str = ""

    @property
    def doubts(self) -> str:
        """A sentence that warns of maps that depend on no class, or on no weights; empty if there is no reason."""
        doubts = [] if self.sanity is None else self.sanity.doubts
        if not doubts:
            return ""
        return (
            f"{self.name} maps hardly depend on {', nor on '.join(doubts)}: they say little about what the classifier "
            "saw, and an attack that keeps them proves little"
        )


def try_interpreters(
    classifier: Classifier,
    images: Tensor,
    classes: Tensor,
    progress: Callable[[str], None] | None = None,
    memory: int | None = None,
    masks: Tensor | None = None,
    names: Sequence[str] = (),
) -> tuple[NetworkParts | None, list[InterpreterTrial]]:
    """Try interpreters on a few images.

    Args:
        images: N x C x H x W in [0, 1], N at most 8.
        classes: int64 N, the classes to explain.
        progress: called with the name of each interpreter before its trial.
        memory: the largest number of bytes that the process shall have on the device.
        masks: true masks of the objects, bool N x H x W, if they are known.
        names: the interpreters; all that are known if empty.

    Returns:
        The parts of the network, and a trial of each interpreter. Without a copy for attacks there are no parts (None),
        and no interpreter works.
    """
    names = names or tuple(REGISTRY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnderfireWarning)
        images = images.to(classifier.device)
        prepared = {}
        try:
            for in_place in (True, False):
                prepared[in_place] = classifier.prepare(in_place=in_place, size=images.shape[2:])
            parts = find_parts(prepared[True], images)
            logits = honest_logits(classifier, images)
        except UnderfireError as error:
            return None, [InterpreterTrial(name, False, str(error)) for name in names]
        ids = identities(images, None).to(images.device)
        benign = Benign(images, classes.to(images.device), ids, logits, {})
        trials: list[InterpreterTrial] = []
        shuffled = shuffled_copy(classifier)
        for name in names:
            if progress is not None:
                progress(name)
            known = next((trial.speed for trial in trials if trial.speed), None)
            trials.append(_try(classifier, prepared, name, benign, known, memory, shuffled, masks))
        return parts, trials


def _try(
    classifier: Classifier,
    prepared: Mapping[bool, Prepared],
    name: str,
    benign: Benign,
    known: Speed | None,
    memory: int | None,
    shuffled: Classifier | None,
    masks: Tensor | None,
) -> InterpreterTrial:
    """Try one interpreter. Whatever it raises, the user's own code too, is the outcome of its trial alone."""
    try:
        interpreter, other_view = create(name), ""
        with naming(interpreter, "interpreter", name):
            speed = _time(System(classifier, {name: interpreter}), prepared, name, benign, known, memory)
            if is_own(interpreter):
                system = System(classifier, {name: interpreter})
                maps = system.maps(benign.images, benign.labels, benign.ids)
                check_steady(system, benign.images, benign.labels, benign.ids, maps)
                views = {name: interpreter.view()}
                view = SystemView(prepared[works_in_place(views.values())], views)
                other_view = unlike(name, view, replace(benign, maps=maps))
            sanity = look_at(interpreter, classifier, shuffled, benign.images, benign.labels, masks, benign.logits)
            moved = 0.0 if interpreter.reseeded() is None else None
            reading = speed.joint + interpreter.view().refresh_passes * speed.step
            if moved is None and 2 * IMAGES * reading < PATIENCE:
                moved = moved_by_seed(interpreter, classifier, benign.images, benign.labels)
        return InterpreterTrial(name, True, speed=speed, sanity=sanity, moved_by_seed=moved, other_view=other_view)
    except NoGradientError as error:
        return InterpreterTrial(name, False, str(error), error.module)
    except UnderfireError as error:
        return InterpreterTrial(name, False, str(error))
    except (torch.OutOfMemoryError, MemoryError):
        problem = f"it does not fit into the memory of {classifier.device}; try a smaller batch size."
        return InterpreterTrial(name, False, problem)
    except Exception as error:  # such as the user's network, which may raise anything
        return InterpreterTrial(name, False, f"{type(error).__name__}: {error}")


def _time(
    system: System,
    prepared: Mapping[bool, Prepared],
    name: str,
    benign: Benign,
    known: Speed | None,
    memory: int | None,
) -> Speed:
    """Read honest maps of the system's one interpreter, probe their gradients, and time a joint step.

    Raises:
        UnderfireError: the interpreter does not work with the classifier.
    """
    interpreter = system.interpreters[name]
    sketch = interpreter.sketch()
    _read(System(system.classifier, {name: sketch}), name, benign)
    network = prepared[works_in_place([interpreter.view()])]
    # An attack reads maps for another class than the image's own.
    others = (benign.labels + 1) % benign.logits.shape[1]
    quick = SystemView(network, {name: sketch.view()})
    _probe(quick, benign, others)
    shape, device = benign.images.shape[1:], benign.images.device
    each = step_bytes(quick, shape, device, joint=True)
    size = size_for(each, shape, device, memory)
    most = max(FEWEST, BYTES // each) if each else None
    view = SystemView(network, {name: interpreter.view()}) if interpreter.sketches is None else quick
    return measure_speed(system, view, benign, size, known, most)


def _read(sketch: System, name: str, benign: Benign) -> None:
    """Read honest maps of two images: a full batch of eight would take four times the memory, and say no more.

    Raises:
        UnderfireError: the interpreter does not work with the classifier.
    """
    try:
        read_few(sketch.interpreters[name], sketch.classifier, benign.images[:2], benign.labels[:2])
    except (UnderfireError, torch.OutOfMemoryError):
        raise
    except RuntimeError:  # the usual way of reading says in words what is wrong
        sketch.maps(benign.images, benign.labels, benign.ids)


def _probe(view: SystemView, benign: Benign, classes: Tensor) -> None:
    """Check that the maps follow the image: on two images first, and on all if these say no."""
    few = torch.arange(min(2, len(classes)), device=classes.device)
    try:
        probe_views(view, benign.take(few), classes[few])
    except NoGradientError as error:
        if error.module is not None or len(few) == len(classes):
            raise
        probe_views(view, benign, classes)
