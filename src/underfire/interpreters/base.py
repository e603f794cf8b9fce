"""What an interpreter is: an honest map for the analyst, and a differentiable view for the attack."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor

from underfire import randomness
from underfire.batching import in_batches
from underfire.classifiers import WHY_NO_GRADIENT, Classifier, Prepared, Recorded, check_pixels, one_per_image
from underfire.errors import InputError, InterpreterError
from underfire.interpreters.smoothing import Smoothing
from underfire.memory import suited_size

State = dict[str, Tensor]
Reader = Callable[[Tensor, Tensor, Tensor], Tensor]


class View(ABC):
    """The attack's side of an interpreter. Whatever is special about one lives here, never in the attack loop.

    ``smoothing`` says how rectifiers behave in the forward pass that is shared with the classifier; views with equal
    smoothing share one pass. ``scales`` says whether it reads ``recorded.scales``, the classifier's finer features, and
    ``in_place`` whether activations may be changed in place, which second derivatives do not survive. All
    state is a dict of tensors with leading dimension N, so that finished images can leave.

    A view whose maps follow the images from state drifts away from the honest maps, and has a ``refresh_every`` above
    0: ``refresh`` is called before the first step of a stage and every so many steps from there, and iterates are
    ranked by what the view says right after it, and never in between. ``refresh_passes`` is the number of forward and
    backward passes of one such call, for estimates of time.
    """

    smoothing: Smoothing | None = None
    scales: bool = False
    in_place: bool = True
    refresh_every: int = 0
    refresh_passes: int = 0

    def begin(self, prepared: Prepared, images: Tensor, classes: Tensor, ids: Tensor) -> State:
        """The state to start with, cheaply: what is costly belongs into ``refresh``.

        ``ids`` int64 N identify the images for whatever is drawn per image.
        """
        return {}

    @abstractmethod
    def read(
        self,
        prepared: Prepared,
        recorded: Recorded,
        images: Tensor,
        classes: Tensor,
        state: State,
        graph: bool,
    ) -> tuple[Tensor, State]:
        """Maps of ``images`` for ``classes`` in [0, 1], and the state after this step.

        Maps are N x h x w, or N x r x h x w where the view looks r times: the objective is then the mean over looks,
        and the last one stands for the map.

        Args:
            recorded: the shared forward pass of ``images`` (which require a gradient), made when first looked at.
            graph: whether the maps will be differentiated; without, the state is only read, in the cheapest way.
        """

    def refresh(self, prepared: Prepared, images: Tensor, classes: Tensor, state: State) -> State:
        """Bring the state up to date with the current images, whatever it was; see ``refresh_every``."""
        return state

    def terms(self, recorded: Recorded, classes: Tensor, state: State) -> dict[str, Tensor]:
        """What the interpreter adds to the objective beyond its map: terms by name, N each, to be minimised."""
        return {}


class Interpreter(ABC):
    """Maps (classifier, image, class) to an attribution map. Implementations are frozen dataclasses.

    ``name`` is what its kind is called; ``family`` picks the published attack schedule (``grad``, ``cam``,
    ``mask``).
    """

    name: ClassVar[str]
    family: ClassVar[str]

    @property
    def label(self) -> str:
        """What tables and files call it."""
        return self.name

    @classmethod
    def families(cls) -> tuple[str, ...]:
        return (cls.family,)

    @abstractmethod
    def read(self, classifier: Classifier, images: Tensor, classes: Tensor, ids: Tensor) -> Tensor:
        """The honest maps of one batch on the classifier's device, N x h x w in [0, 1]. No smoothing, no copy."""

    @abstractmethod
    def view(self) -> View:
        """The differentiable view that attacks use."""

    def reader(self, classifier: Classifier) -> Reader:
        """``read`` on ``classifier``. What is to be looked up once, and not for every batch, is looked up here."""
        return partial(self.read, classifier)

    def identity(self, classifier: Classifier) -> str:
        """All that the maps depend on beside the classifier itself, as text: what a run's record keeps."""
        return repr(self)

    def reseeded(self, offset: int = 1) -> Interpreter | None:
        """The same interpreter with ``offset`` added to its seed; None where its maps depend on no random numbers.

        How far two maps of one image lie apart that differ in the seed alone is the interpreter's own noise floor.
        """
        return None

    def sketch(self) -> Interpreter:
        """A form that is quick to try and takes the same parts of a network, for a look beforehand at whether it works;
        the interpreter itself where it is quick. Its maps mean nothing."""
        return self

    @torch.inference_mode(False)
    def maps(
        self,
        classifier: Classifier,
        images: Tensor,
        classes: Tensor | Sequence[int],
        *,
        ids: Tensor | None = None,
        batch_size: int | None = None,
    ) -> Tensor:
        """The honest maps, as an analyst would see them, N x h x w in [0, 1] with 1 = most important. No graph.

        Args:
            images: N x C x H x W in [0, 1].
            classes: int64 N, the class that each map explains.
            ids: int64 N, identities of the images for interpreters that draw random numbers per image; by default
                images are known by their pixels.
            batch_size: images at once; by default what suits the device and the image size. No map depends on it.

        Raises:
            InputError: for images or classes that cannot be.
            InterpreterError: where the classifier does not have what the interpreter needs.
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
        ids = randomness.identify(images) if ids is None else ids
        read = self.reader(classifier)

        def run(chunk: Tensor, chunk_classes: Tensor, chunk_ids: Tensor) -> Tensor:
            device = classifier.device
            images, classes = chunk.detach().to(device), chunk_classes.to(device)
            return read(images, classes, chunk_ids.to(device)).detach().float().to(chunk.device)

        size = batch_size or suited_size(images.shape[2], images.shape[3], classifier.device)
        with classifier.evaluating():
            try:
                return in_batches(run, images, classes, ids, batch_size=size)
            except (IndexError, RuntimeError) as error:
                if "does not require grad" in str(error):
                    raise InterpreterError(
                        f"{self.label} differentiates the network, which cannot be: {WHY_NO_GRADIENT}"
                    ) from error
                known = classifier.logits(images[:1]).shape[1]
                if int(classes.max()) < known:
                    raise
                raise InputError(
                    f"classes go up to {int(classes.max())}; the classifier has classes 0..{known - 1}."
                ) from error
