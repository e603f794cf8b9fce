"""The contract of interpreters: an honest map for the analyst, and a differentiable view for the attack."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from underfire import randomness
from underfire.batching import in_batches
from underfire.classifiers import WHY_NO_GRADIENT, Attackable, Classifier, Recorded, check_pixels, one_per_image
from underfire.errors import InputError, NoGradientError
from underfire.interpreters.map_checks import check_range, check_shape
from underfire.interpreters.smoothing import Smoothing
from underfire.memory import suited_size
from underfire.numerics import judging
from underfire.user_parts import Part

State = dict[str, Tensor]
HonestMaps = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Reads honest maps N x h x w of images N x C x H x W for classes and ids, both int64 N."""


class View(ABC):
    """The attack's side of an interpreter. Everything special about one lives here, never in the attack loop.

    All state is a dict of tensors with leading dimension N, so that finished images can be removed from the batch.

    A view that makes its maps from state drifts away from the honest maps. Its ``refresh_every`` is above 0:
    ``refresh`` is called before the first step of a stage and every so many steps from there, and iterates are ranked
    only right after that.

    Attributes:
        smoothing: the slope of rectifiers in the forward pass that is shared with the classifier; exact if None. Views
            with equal smoothing share one pass.
        scales: True if the view reads ``recorded.scales``, the classifier's finer features.
        attention: True if the view reads ``recorded.attention``, the classifier's matrices of attention.
        in_place: True if activations may be changed in place; second derivatives do not survive that.
        refresh_every: steps between two calls of ``refresh``; 0 if the view does not drift.
        refresh_passes: forward and backward passes of one ``refresh``, for estimates of time.
        steps_alike: True if every ``read`` makes the same operations on tensors, whatever their values, so that one of
            them can be recorded on a GPU and repeated. Nothing that changes from step to step is kept in Python, and no
            random numbers are drawn in Python.
        compilable: True if the view reads nothing but logits, features and head of the shared pass, and does not
            differentiate it: compiled passes, which have no second derivative, are enough for it.
    """

    smoothing: Smoothing | None = None
    scales: bool = False
    attention: bool = False
    in_place: bool = True
    refresh_every: int = 0
    refresh_passes: int = 0
    steps_alike: bool = False
    compilable: bool = False

    def begin(self, prepared: Attackable, images: Tensor, classes: Tensor, ids: Tensor) -> State:
        """Make the state at the start. This must be cheap: costly work belongs in ``refresh``.

        Args:
            ids: int64 N, the images' identities, for random numbers.
        """
        return {}

    @abstractmethod
    def read(
        self, prepared: Attackable, recorded: Recorded, images: Tensor, classes: Tensor, state: State, graph: bool
    ) -> tuple[Tensor, State]:
        """Read the maps of ``images`` for ``classes``, in [0, 1]. Returns them, and the state after this step.

        Maps are N x h x w, or N x r x h x w if the view gives r maps per step: the objective is then the mean over
        them, and the last one is the map that is recorded.

        Args:
            prepared: the network, for passes of the view's own.
            recorded: the shared forward pass of ``images``, made when one of its values is first read.
            images: N x C x H x W in [0, 1]; they require a gradient, or depend on a tensor that does.
            classes: int64 N, the class that each map explains.
            state: the state from ``begin``, ``read`` or ``refresh``.
            graph: True if the maps will be differentiated. Otherwise the state is only read, in the cheapest way.
        """

    def refresh(self, prepared: Attackable, images: Tensor, classes: Tensor, state: State) -> State:
        """Bring the state up to date with the current images; see ``refresh_every``."""
        return state

    def terms(self, recorded: Recorded, classes: Tensor, state: State) -> dict[str, Tensor]:
        """Return what the interpreter adds to the objective beyond its map: terms to minimise by name, N each."""
        return {}


class Interpreter(Part, ABC):
    """Maps (classifier, image, class) to an attribution map. Implementations are frozen dataclasses.

    Class attributes:
        name: the name of this kind of interpreter.
        family: the family whose published attack schedule it uses: ``grad``, ``cam``, ``mask``, ``rts``, or a new one.
        parent_families: the families whose schedules serve if a perturbation has none for ``family``, best one first.
        code_sha256: the SHA-256 of the user's file that the interpreter was made from by its name, such as
            ``file.py:name``; empty if there is none. ``interpreters.create`` sets it.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    parent_families: ClassVar[tuple[str, ...]] = ("cam",)
    code_sha256 = ""

    @property
    def label(self) -> str:
        """The name in tables and files."""
        return self.name

    @classmethod
    def families(cls) -> tuple[str, ...]:
        """Return the families to look up for an attack schedule, most specific first.

        Raises:
            InputError: the class has no family. Only attacks need one.
        """
        family = getattr(cls, "family", None)
        if not isinstance(family, str):
            raise InputError(
                f"interpreter {cls.name} has the family {family!r}; expected a text, which chooses the schedule of "
                "published attacks: give its class the attribute family, such as family = 'cam'."
            )
        return tuple(dict.fromkeys((family, *cls.parent_families)))

    @classmethod
    def published(cls) -> Interpreter:
        """Make the interpreter with the parameters of the published experiments."""
        return cls()

    @classmethod
    def from_argument(cls, argument: str) -> Interpreter:
        """Make the interpreter for a name with an argument after a colon, such as ``lrp:z+``.

        Raises:
            InputError: this kind of interpreter takes no argument, or not this one.
        """
        raise InputError(f"interpreter is '{cls.name}:{argument}'; {cls.name} takes nothing after a colon.")

    @abstractmethod
    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        """Read the honest maps N x h x w in [0, 1] of one batch on the classifier's device. No smoothing, no copy."""

    @abstractmethod
    def view(self) -> View:
        """Make the differentiable view that attacks use."""

    def bound_to(self, classifier: Classifier) -> HonestMaps:
        """Return ``read`` for one classifier. Anything that is needed once, and not for every batch, is done here."""
        return partial(self.read, classifier)

    def identity(self, classifier: Classifier) -> str:
        """Describe everything that the maps depend on, except the classifier, as text for the record of a run."""
        return repr(self)

    def known_by(self, classifier: Classifier) -> str:
        """Return ``identity``, and the hash of the user's file that the interpreter was made from, if there is one."""
        identity = self.identity(classifier)
        return f"{identity}, made by code of SHA-256 {self.code_sha256}" if self.code_sha256 else identity

    def reseeded(self, offset: int = 1) -> Interpreter | None:
        """Return the interpreter with ``offset`` added to its seed; None if its maps depend on no random numbers.

        The distance of two maps of one image that differ only in the seed is the interpreter's own noise floor.
        """
        return None

    def sketch(self) -> Interpreter:
        """Return a faster interpreter that uses the same parts of a network, to test if this one works with it.

        Its maps mean nothing. An interpreter that is quick returns itself.
        """
        return self

    @property
    def sketches(self) -> int | None:
        """The number of sketches whose maps take as long as this interpreter's, by the passes that they make.

        None if it cannot be told, so that the time must be measured. ``underfire check`` times the sketch otherwise.
        """
        return 1 if self.sketch() is self else None

    @torch.inference_mode(False)
    def maps(
        self,
        classifier: Classifier,
        images: Tensor,
        classes: Tensor | Sequence[int],
        *,
        ids: Tensor | Sequence[str] | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """Read the honest maps, as an analyst would see them: N x h x w in [0, 1], 1 = most important. No graph.

        Args:
            images: N x C x H x W in [0, 1].
            classes: int64 N, the class that each map explains.
            ids: stable names, or int64 N, of the images for interpreters that draw random numbers per image; by
                default images are known by their pixels.
            batch_size: images at once; by default what suits the device and the image size. No map depends on it.

        Raises:
            InputError: images or classes have a wrong type, shape or value.
            InterpreterError: the classifier lacks something that the interpreter needs, or the interpreter returns
                something other than maps N x h x w in [0, 1].
            NoGradientError: the interpreter differentiates the network, and the network has no gradient.
        """
        if not isinstance(classifier, Classifier):
            raise InputError(
                f"classifier is an object of type {type(classifier).__name__}; expected a Classifier, such as "
                "Classifier(network, mean=..., std=...)."
            )
        images = check_pixels(images, classifier)
        classes = one_per_image(classes, len(images), "classes")
        if int(classes.min()) < 0:
            raise InputError(f"classes holds {int(classes.min())}; expected class indices, which begin at 0.")
        images, classes = (part.clone() if part.is_inference() else part for part in (images, classes))
        ids = randomness.identities(images, ids)
        read = self.bound_to(classifier)

        def run(chunk: Tensor, chunk_classes: Tensor, chunk_ids: Tensor) -> Tensor:
            device = classifier.device
            images, classes = chunk.detach().to(device), chunk_classes.to(device)
            maps = check_shape(read(images, classes, chunk_ids.to(device)), len(chunk), self.label)
            return maps.detach().float().to(chunk.device)

        size = batch_size or suited_size(images.shape[2], images.shape[3], classifier.device)
        with classifier.evaluating(), judging(classifier.device):
            try:
                maps = in_batches(run, images, classes, ids, batch_size=size, device=classifier.device)
            except torch.OutOfMemoryError:
                raise
            except (IndexError, RuntimeError) as error:
                with torch.enable_grad():
                    logits = classifier.run(images[:1].detach().to(classifier.device).requires_grad_())
                if int(classes.max()) >= logits.shape[1]:
                    raise InputError(
                        f"classes go up to {int(classes.max())}; the classifier has classes 0..{logits.shape[1] - 1}."
                    ) from error
                if not logits.requires_grad:
                    raise NoGradientError(
                        f"{self.label} differentiates the network, which cannot be: {WHY_NO_GRADIENT}"
                    ) from error
                raise
        check_range(maps, f"interpreter {self.label}")
        return maps
