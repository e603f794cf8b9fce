"""The frozen, fast copy of a classifier that attacks run on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from underfire.classifiers import layout
from underfire.classifiers.copying import copied
from underfire.classifiers.features import without_wrappers
from underfire.classifiers.folding import Pairs, fold, fold_again, foldable
from underfire.classifiers.pixels import Pixels
from underfire.errors import ClassifierError, InputError
from underfire.memory import suited_size
from underfire.numerics import (
    dtype_of,
    judging,
    math_attention,
    scale,
    to_format,
    tolerance,
    warn_if_slow,
    weights_dtype,
)


class Prepared(Pixels):
    """A deep copy of a network in evaluation mode, without gradients for its weights, made fast.

    Batch norms are folded into the convolution before them, and weights are in the memory format in which passes are
    fastest.
    With ``in_place=False``, activations no longer work in place: smoothed rectifiers would have to copy their input.

    The copy is checked on probe images: its logits must equal those of the original within the larger ``tolerance`` of
    the two (1e-4 in float32, 0.1 in bfloat16, relative to the spread of the logits). A change that breaks this, or the
    pass, is undone.

    Args:
        classifier: the original, in evaluation mode. It is not changed.
        precision: ``float32``, ``tf32``, ``bf16`` or ``float64``; see ``numerics.PRECISIONS``.
        in_place: let activations work in place as in the original.
        size: height and width of the probe images.
        channels: the number of channels.

    Attributes:
        memory_format: that of weights and images; see ``classifiers.layout``.
        deviation: the largest measured difference of a logit, relative to the spread of the logits.
        forwards, backwards: see ``Attackable``.

    Raises:
        InputError: the precision is unknown.
        ClassifierError: the network cannot be copied, or even its plain copy gives other logits.
    """

    convolutions_in_eights = False  # attacks are to be quick

    def __init__(
        self, classifier: Pixels, precision: str, in_place: bool, size: tuple[int, int], channels: int
    ) -> None:
        dtype = dtype_of(precision)
        copied = _copy(classifier.module)
        super().__init__(copied, classifier.mean, classifier.std, classifier.features, classifier.reader)
        self.eval()  # libraries that read the mode, and restore it, must find evaluation mode
        self._source = (classifier.module,)  # in a tuple, because nn.Module would register it as a part of the copy
        self._shapes = {name: value.shape for name, value in _tensors(self.module).items()}
        self._folded: Pairs = ()
        self.precision = precision
        self.memory_format = layout.usual_format(dtype, classifier.device)
        self.dtype = weights_dtype(self.module) or torch.float32
        self.forwards = 0
        warn_if_slow(precision, classifier.device)
        probe = _probe_images(size, channels).to(classifier.device)
        changes = [self._fold_batch_norms] if in_place else [self._fold_batch_norms, self._leave_inputs_alone]
        with judging(classifier.device), torch.no_grad():
            with layout.InstanceNorms() as norms:
                expected = classifier.run(probe.to(self.dtype))
            if norms.seen:
                self.memory_format = layout.CONTIGUOUS
            self._improve(probe, expected, changes, max(tolerance(torch.float32), classifier.tolerance))
            self.dtype = dtype
            self.module.to(dtype=dtype)
            self._in_format(self.memory_format)
            if layout.is_measured(classifier.device) and not norms.seen:
                self._in_format(layout.fastest_format(lambda form: self._seconds(form, probe), self.memory_format))
            self.deviation = self._deviation(probe, expected)
        self.forwards = self.backwards = 0
        accepted = max(self.tolerance, classifier.tolerance)
        if not self.deviation <= accepted:
            raise ClassifierError(
                f"the classifier's prepared copy gives logits that differ from the original's by {self.deviation:.2g} "
                f"(relative; at most {accepted} is expected). It may differ from call to call (dropout, noise "
                "or a batch norm that stays in training mode), or keep state between calls."
            )

    def convert(self, normalised: Tensor) -> Tensor:
        """Convert normalised images to the copy's precision and memory format."""
        return normalised.to(self.dtype).contiguous(memory_format=self.memory_format)

    def run(self, images: Tensor, *, twice: bool = True) -> Tensor:
        """Compute the logits N x K of images N x C x H x W in [0, 1], and count the pass.

        Args:
            twice: False if the pass will be differentiated once at most: attention may then use its fused kernels, and
                it needs less memory.
        """
        self.forwards += 1
        with math_attention(twice):
            return super().run(images)

    def sha256(self) -> str:
        """Compute the hash of the original classifier: folding changes the weights of the copy."""
        return self._sha256(self._source[0])

    @torch.no_grad()
    def refresh_from(self, network: nn.Module) -> None:
        """Copy the present weights and buffers of ``network``, for attacks on a network that is being trained.

        Nothing else of the preparation is repeated: no deep copy, no forward pass, no check. The batch norms that were
        folded at preparation are folded again.

        Args:
            network: the network that this copy was made of, or one of the same architecture, such as an average of its
                weights. A ``Classifier`` stands for its network.

        Raises:
            InputError: the network has other parameters or buffers than this copy was made of. Nothing is copied.
        """
        source = eager(network.module if isinstance(network, Pixels) else network)
        own, given = _tensors(self.module), _tensors(source)
        folded = {f"{name}.{part}" for name, _ in self._folded for part in ("weight", "bias")}
        shapes = {name: value.shape for name, value in given.items()}
        if shapes != self._shapes:
            name = next(name for name in [*self._shapes, *shapes] if self._shapes.get(name) != shapes.get(name))
            raise InputError(
                f"network does not fit this prepared copy: {name} has the shape {shapes.get(name)}, and the copy was "
                f"made of a network in which it has {self._shapes.get(name)}. Give a network of that architecture."
            )
        for name in (own.keys() & given.keys()) - folded:
            own[name].copy_(given[name])
        fold_again(self.module, source, self._folded)
        self._source = (source,)

    def _deviation(self, probe: Tensor, expected: Tensor) -> float:
        difference = (self.run(probe) - expected).abs().max() / scale(expected)
        return float(difference) if torch.isfinite(difference) else float("inf")

    def _in_format(self, memory_format: torch.memory_format) -> None:
        self.memory_format = memory_format
        to_format(self.module, memory_format)

    def _seconds(self, memory_format: torch.memory_format, probe: Tensor) -> float:
        """Measure a forward and backward pass of a batch, in seconds."""
        self._in_format(memory_format)
        size = min(32, suited_size(probe.shape[2], probe.shape[3], probe.device))
        images = probe.repeat(size // len(probe), 1, 1, 1).requires_grad_()

        def both() -> None:
            logits = self.run(images)
            if logits.requires_grad:
                torch.autograd.grad(logits.square().sum(), images)

        with torch.enable_grad():
            return layout.time_of(both, probe.device)

    def _improve(
        self, probe: Tensor, expected: Tensor, changes: Sequence[Callable[[Tensor], None]], accepted: float
    ) -> None:
        """Make the changes that keep the logits: all of them if possible, otherwise one by one."""
        before, folded = copied(self.module), self._folded
        try:
            for change in changes:
                change(probe)
            kept = self._deviation(probe, expected) <= accepted
        except torch.OutOfMemoryError:
            raise
        except Exception:  # a user's network may rely on its parts in any way
            kept = False
        if kept:
            return
        self.module, self._folded = before, folded
        if len(changes) > 1:
            for change in changes:
                self._improve(probe, expected, [change], accepted)

    def _fold_batch_norms(self, probe: Tensor) -> None:
        pairs = foldable(self.module, lambda: self.run(probe))
        # The output of the module that is named for its features must stay what it is.
        self._folded = tuple(pair for pair in pairs if self._names(pair[0]) <= self._names(pair[1]))
        fold(self.module, self._folded)

    def _names(self, part: str) -> bool:
        """Return True if ``features`` names this part of the network, or one that it lies in."""
        return self.features is not None and f"{part}.".startswith(f"{without_wrappers(self.features)}.")

    def _leave_inputs_alone(self, _probe: Tensor) -> None:
        """Stop activations from working in place."""
        for part in self.module.modules():
            if getattr(part, "inplace", False) is True:
                vars(part)["inplace"] = False


def eager(network: nn.Module) -> nn.Module:
    """Return the plain network inside a ``DataParallel`` or compiled one; any other network is returned as it is."""
    inner = network.module if isinstance(network, nn.DataParallel) else network
    found = getattr(inner, "_orig_mod", inner)
    assert isinstance(found, nn.Module)
    return found


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name, without the prefix that compiled parts have."""
    named = chain(network.named_parameters(remove_duplicate=False), network.named_buffers(remove_duplicate=False))
    return {name.replace("_orig_mod.", ""): value for name, value in named}


def _copy(module: nn.Module) -> nn.Module:
    """Copy a network for evaluation: frozen, and with compiled parts replaced by their plain ones."""
    duplicate = copied(module)
    duplicate.eval().requires_grad_(False)
    for part in duplicate.modules():
        part.__dict__.pop("_compiled_call_impl", None)
        for name, child in list(part.named_children()):
            if hasattr(child, "_orig_mod"):
                setattr(part, name, child._orig_mod)
    return duplicate


def _probe_images(size: tuple[int, int], channels: int) -> Tensor:
    """Draw two smooth random images, 2 x C x H x W."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, channels, 4, 4, generator=generator)
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
