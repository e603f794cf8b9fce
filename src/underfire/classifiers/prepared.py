"""The frozen, fast copy of a classifier that attacks run on."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.fusion import fuse_conv_bn_eval

from underfire.classifiers.pixels import TOLERANCE, Pixels
from underfire.errors import ClassifierError, InputError, UnderfireWarning

if TYPE_CHECKING:
    from underfire.classifiers.classifier import Classifier

Change = Callable[[nn.Module, "Prepared", Tensor], None]
_PRECISIONS = {"float64": torch.float64, "float32": torch.float32, "bf16": torch.bfloat16}


class Prepared(Pixels):
    """A deep copy in evaluation mode without gradients for its weights, made fast.

    Batch norms are folded into the convolution before them, weights lie in ``channels_last``, and activations no longer
    work in place where smoothed ones will take their turn (``in_place=False``; they would have to copy). On probe
    images its logits equal the original's within the larger ``tolerance`` of the two (1e-4 in float32, 0.1 in bfloat16,
    relative to the largest logit): where a change of the copy breaks that, the change is undone; where even the plain
    copy differs, a ClassifierError says so. ``deviation`` is what was measured. ``forwards`` counts the batches that
    went through, ``backwards`` those that came back (whoever makes a pass that will be differentiated adds to it).
    """

    def __init__(self, classifier: Classifier, precision: str, in_place: bool, size: tuple[int, int]) -> None:
        if precision not in _PRECISIONS:
            raise InputError(f"precision is {precision!r}; expected 'float32', 'bf16' or 'float64'.")
        super().__init__(_copy(classifier.module), classifier.mean, classifier.std, classifier.features)
        self.eval()  # libraries that look at the mode, and put it back, must find this one
        self._original = classifier.sha256
        self._kept = classifier.tolerance
        self.precision = precision
        self.dtype = next((part.dtype for part in self.module.parameters()), torch.float32)
        self.forwards = 0
        _warn_if_slow(_PRECISIONS[precision], classifier.device)
        probe = _probe_images(classifier, size)
        with torch.no_grad():
            expected = classifier.run(probe.to(self.dtype))
            self._improve(probe, expected, [_fold_batch_norms] if in_place else [_fold_batch_norms, _out_of_place])
            self.dtype = _PRECISIONS[precision]
            self.module.to(dtype=self.dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
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
        return normalised.to(self.dtype).contiguous(memory_format=torch.channels_last)

    def run(self, images: Tensor) -> Tensor:
        self.forwards += 1
        with sdpa_kernel(SDPBackend.MATH):  # the only attention with a second derivative; the fused ones have none
            return super().run(images)

    def sha256(self) -> str:
        """Of the original: folding changes the copy's weights."""
        return self._original()

    def _deviation(self, probe: Tensor, expected: Tensor) -> float:
        difference = (self.run(probe) - expected).abs().max() / expected.abs().max().clamp_min(1)
        return float(difference) if torch.isfinite(difference) else float("inf")

    def _improve(self, probe: Tensor, expected: Tensor, changes: Sequence[Change]) -> None:
        """Apply the changes that keep the logits: all at once where that works, else one by one."""
        before = copy.deepcopy(self.module)
        for change in changes:
            change(self.module, self, probe)
        if self._deviation(probe, expected) <= max(TOLERANCE[torch.float32], self._kept):
            return
        self.module = before
        if len(changes) > 1:
            for change in changes:
                self._improve(probe, expected, [change])


def _copy(module: nn.Module) -> nn.Module:
    try:
        duplicate = copy.deepcopy(module)
    except (RuntimeError, TypeError) as error:
        raise ClassifierError(
            f"the classifier cannot be copied ({error}). A weight that is not a leaf (an old-style weight_norm or "
            "spectral_norm), or an open file or lock in a module, prevents it: remove it, or pass a fresh network."
        ) from error
    duplicate.eval().requires_grad_(False)
    for part in duplicate.modules():
        part.__dict__.pop("_compiled_call_impl", None)
        for name, child in list(part.named_children()):
            if hasattr(child, "_orig_mod"):
                setattr(part, name, child._orig_mod)
    return duplicate


def _probe_images(classifier: Classifier, size: tuple[int, int]) -> Tensor:
    """Two smooth random images."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(2, classifier.channels, 4, 4, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
    return images.to(classifier.device)


def _fold_batch_norms(module: nn.Module, pixels: Prepared, probe: Tensor) -> None:
    """Fold every batch norm whose input is the output of a convolution into that convolution.

    Which convolution feeds which batch norm is read off one forward pass, so that any way of writing a network is
    covered; a convolution or batch norm that runs more than once is left alone.
    """
    produced: dict[int, tuple[nn.Module, Tensor]] = {}
    pairs: list[tuple[nn.Module, nn.Module]] = []
    calls: dict[nn.Module, int] = {}

    def watch(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        calls[part] = calls.get(part, 0) + 1
        if isinstance(part, nn.Conv2d):
            produced[id(output)] = (part, output)
        elif inputs and id(inputs[0]) in produced:
            pairs.append((produced[id(inputs[0])][0], part))

    handles = [
        part.register_forward_hook(watch) for part in module.modules() if isinstance(part, nn.Conv2d | nn.BatchNorm2d)
    ]
    try:
        pixels.run(probe)
    finally:
        for handle in handles:
            handle.remove()
    names = {part: name for name, part in module.named_modules()}
    for convolution, norm in pairs:
        if calls[convolution] == 1 and calls[norm] == 1 and names[norm]:
            assert isinstance(convolution, nn.Conv2d)
            assert isinstance(norm, nn.BatchNorm2d)
            if norm.running_mean is None:
                continue
            fused = fuse_conv_bn_eval(convolution, norm)
            convolution.weight, convolution.bias = fused.weight, fused.bias
            convolution.requires_grad_(False)
            module.set_submodule(names[norm], nn.Identity())


def _out_of_place(module: nn.Module, _pixels: Prepared, _probe: Tensor) -> None:
    for part in module.modules():
        if getattr(part, "inplace", False) is True:
            vars(part)["inplace"] = False


def _warn_if_slow(dtype: torch.dtype, device: torch.device) -> None:
    if dtype is torch.bfloat16 and device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        warnings.warn(
            "this processor has no bfloat16 instructions: precision='bf16' will be several times slower than "
            "'float32' here.",
            UnderfireWarning,
            stacklevel=4,
        )
