"""Attacks of other libraries (torchattacks, Foolbox, ART) as prediction-only baselines, judged like ours."""

from __future__ import annotations

import inspect
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from underfire import randomness
from underfire.arguments import check_known
from underfire.attacks.aim import Aim
from underfire.attacks.base import BaseAttack
from underfire.attacks.benign import Benign
from underfire.attacks.foreign.libraries import LIBRARIES, Found
from underfire.attacks.goal import Goal
from underfire.attacks.outcome import Outcome
from underfire.attacks.perturbations import EPS, PGD, Perturbation
from underfire.attacks.progress import Progress
from underfire.attacks.shaping import Shaping, Uniform
from underfire.attacks.target_maps import BenignMap, MapRule
from underfire.attacks.targets import ClassRule, RandomClass
from underfire.classifiers import WHY_NO_GRADIENT
from underfire.errors import InputError, NoGradientError, warn
from underfire.system import SystemView


@dataclass(frozen=True)
class Ball(PGD):
    """The L-inf ball that the images of a foreign attack are rounded into. A radius of 1 is no ball at all."""

    name: ClassVar[str] = "foreign"

    @property
    def noise_size(self) -> float:
        return self.eps if self.eps < 1 else EPS


@contextmanager
def _backward_passes(network: nn.Module) -> Iterator[list[None]]:
    """Context with a list that gets one entry for each backward pass through ``network``.

    Gradients in the images are made contiguous, because some of these libraries call ``view`` on them.
    """
    found: list[None] = []

    def watch(_module: nn.Module, inputs: tuple[Tensor, ...], logits: Tensor) -> None:
        if inputs[0].requires_grad:
            inputs[0].register_hook(lambda gradient: gradient.contiguous())
        if logits.requires_grad:
            logits.register_hook(lambda _gradient: found.append(None))

    handle = network.register_forward_hook(watch)
    try:
        yield found
    finally:
        handle.remove()


def _has_gradient(network: nn.Module, image: Tensor) -> bool:
    """Return True if the network's logits can be differentiated in an image 1 x C x H x W."""
    return bool(network(image.clone().requires_grad_()).requires_grad)


@dataclass(frozen=True)
class ForeignAttack(BaseAttack):
    """An attack of another library on the prediction alone.

    The attack runs on a frozen copy of the network, batch by batch; its random numbers depend on the seed and on the
    batch. Its images are rounded to 8 bits, inside the ball if ``eps`` is given, and judged like those of our attacks.
    An image that comes back black, because the attack found nothing, is replaced by the benign image: a failure without
    a change. Steps are counted as backward passes of the image's batch; 0 for attacks without gradients.

    Args:
        source: ``torchattacks:NAME``, ``foolbox:NAME`` or ``art:NAME``, with the attack's name in that library.
        options: arguments of the attack's constructor; kept as sorted pairs.
        eps: the radius in L-inf, in pixel units, for attacks that take one. None for attacks without a ball, and for
            attacks whose ``options`` have a radius.
        iterations: given to the attack as ``steps`` or ``max_iter`` if it takes one of them and ``options`` do not
            have it.
        goal: reach a class, or leave one.
        target_class: the rule for target classes.
        target_map: the rule for wanted maps; the attack does not look at it, and is measured by it.

    Raises:
        InputError: the library is missing or has no such attack, or the attack has a ball and ``eps`` is None.
    """

    source: str
    options: tuple[tuple[str, Any], ...] | Mapping[str, Any] = ()
    eps: float | None = EPS
    iterations: int | None = None
    goal: Goal = field(default_factory=Goal)
    target_class: ClassRule = field(default_factory=RandomClass)
    target_map: MapRule = field(default_factory=BenignMap)
    name: str = field(init=False)
    perturbation: Perturbation = field(init=False)
    shaping: Shaping = field(init=False)

    def __post_init__(self) -> None:
        for name, value in {
            "options": tuple(sorted(dict(self.options).items())),
            "name": self.source.replace(":", "-").lower(),
            "perturbation": Ball(1.0 if self.eps is None else self.eps),
            "shaping": Uniform(),
        }.items():
            object.__setattr__(self, name, value)
        library, _, name = self.source.partition(":")
        if library not in LIBRARIES or not name:
            known = ", ".join(f"{key}:NAME" for key in LIBRARIES)
            raise InputError(f"the foreign attack is {self.source!r}; expected one of {known}.")
        found = LIBRARIES[library]
        radius = found.radius(self._class())
        if self.eps is None and radius is not None and radius not in dict(self.options):
            raise InputError(
                f"{self.source!r} (a ForeignAttack, or --baseline) needs the radius of its ball, and eps is None: cw "
                f"and stadv have no ball whose radius a baseline could use. Take an attack without a ball, such as "
                f"{found.free}; or attack with --perturbation pgd, or give ForeignAttack an eps."
            )

    @property
    def joint(self) -> bool:
        """False: these attacks do not look at maps."""
        return False

    @property
    def steps(self) -> int:
        """1, because only the library knows its own steps."""
        return 1

    def _class(self) -> Any:
        """Return the library's class of the attack. Raises InputError if there is none."""
        library, _, name = self.source.partition(":")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                known = LIBRARIES[library].attacks()
            except ImportError as error:
                raise InputError(
                    f"attack {self.source!r} needs {LIBRARIES[library].package}: pip install --no-deps "
                    f"{LIBRARIES[library].package} ({error})."
                ) from error
        check_known(f"{library} attack", name, known)
        return known[name]

    def run(
        self,
        view: SystemView,
        benign: Benign,
        aim: Aim,
        *,
        seed: int,
        batch_size: int,
        progress: Progress | None = None,
        trace_every: int | None = None,
    ) -> Outcome:
        classes = aim.classes
        library = self.source.partition(":")[0]
        if self.eps is not None and library != "foolbox" and LIBRARIES[library].radius(self._class()) is None:
            warn(
                f"{self.source} takes no radius, and eps is {self.eps:.4g}: its images are cut into that ball, where "
                "most of them may fail. Give eps=None to leave them as they are."
            )
        outcome = Outcome.empty(benign.images, None)
        prepared, started = view.prepared, time.perf_counter()
        assert isinstance(prepared, nn.Module)  # other libraries call the network itself
        generators = randomness.seeded(seed, benign.images.device)
        with generators, warnings.catch_warnings(), torch.enable_grad(), _backward_passes(prepared) as backwards:
            warnings.simplefilter("ignore")
            find = self._ready(prepared, benign, batch_size, seed)
            for begin in range(0, len(benign.images), batch_size):
                rows = slice(begin, begin + batch_size)
                before = prepared.forwards, len(backwards)
                try:
                    found = find(benign.images[rows].clone(), classes[rows])
                except (TypeError, ValueError, AssertionError, NotImplementedError, IndexError) as error:
                    raise InputError(f"{self.source} failed: {error or type(error).__name__}") from error
                except RuntimeError as error:
                    if _has_gradient(prepared, benign.images[rows][:1]):
                        raise
                    raise NoGradientError(
                        f"{self.source} differentiates the classifier, which is impossible: {WHY_NO_GRADIENT}"
                    ) from error
                found, images = found.detach().to(benign.images), benign.images[rows]
                blank = (found == 0).flatten(1).all(1)  # some libraries return a black image if they found nothing
                outcome.images[rows] = torch.where(blank.view(-1, 1, 1, 1), images, found)
                outcome.forwards[rows] = prepared.forwards - before[0]
                outcome.backwards[rows] = len(backwards) - before[1]
                if progress is not None:
                    progress(min(begin + batch_size, len(benign.images)), len(benign.images))
        if outcome.images.is_cuda:
            torch.cuda.synchronize()
        outcome.images = self.perturbation.levels(benign.images, outcome.images.nan_to_num(0).clamp(0, 1))
        outcome.last, outcome.seconds = outcome.images, time.perf_counter() - started
        outcome.steps += outcome.backwards  # only the library knows its own steps
        return outcome

    def _ready(self, network: nn.Module, benign: Benign, batch_size: int, seed: int) -> Found:
        """Make the library's attack on ``network``, with those of our settings that its constructor takes."""
        library, _, _ = self.source.partition(":")
        made = self._class()
        takes = inspect.signature(made.__init__).parameters
        options = dict(self.options)
        wished: dict[str, Any] = {
            "eps": self.eps,
            "steps": self.iterations,
            "max_iter": self.iterations,
            "verbose": False,
        }
        wished |= {"batch_size": batch_size, "targeted": self.goal.targeted}
        wished |= {"n_classes": benign.logits.shape[1], "seed": seed % 2**31}
        for name, value in wished.items():
            if name in takes and value is not None:
                options.setdefault(name, value)
        try:
            return LIBRARIES[library].ready(made, network, options, benign, self.goal, self.eps)
        except (TypeError, ValueError) as error:
            raise InputError(f"{self.source} cannot be made with {options}: {error}") from error
