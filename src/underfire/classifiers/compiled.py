"""A prepared copy, compiled by ``torch.compile``, for passes that are differentiated once.

Compiled code has no second derivative. So interpreters that differentiate the network to make their map (Grad,
Grad-CAM, LRP, ...) keep the eager copy, and so do the network's passes inside of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from underfire.classifiers.copying import copied
from underfire.classifiers.features import named_part
from underfire.classifiers.prepared import Prepared
from underfire.classifiers.recorded import Recorded, two_classes
from underfire.errors import warn
from underfire.numerics import full_precision, math_attention, scale

BACKEND = "inductor"
"""The compiler; see ``torch.compile``."""


class Compiled:
    """The compiled passes of a prepared copy.

    The first pass of every shape compiles, which takes seconds to a minute, and is compared with the eager pass. If the
    network cannot be compiled, or gives other logits, all passes are eager, with one warning.

    Args:
        prepared: the copy. Its passes are counted there. If its weights change later, compile it again.
        eager: names of interpreters that cannot use compiled passes, for a warning.
    """

    def __init__(self, prepared: Prepared, eager: Sequence[str] = ()) -> None:
        self._prepared = prepared
        self._tapped: _Tapped | None = None
        self._network: Any = None
        self._head: Recorded | None = None
        self._accepted: dict[tuple[int, ...], bool] = {}
        if eager:
            warn(
                f"compile is set, and {', '.join(eager)} cannot use compiled passes: compiled code has no second "
                "derivative, and no features but the last ones. Passes that read these maps are eager."
            )

    def record(self, images: Tensor, features: bool = False) -> Recorded | None:
        """Compute logits, features and head in one compiled pass, and count it.

        Args:
            images: N x C x H x W in [0, 1].
            features: True if the features are needed.

        Returns:
            The pass; None if it must be eager: without gradients, if the network cannot be compiled, or if features are
            needed and are the output of no module of the network.
        """
        if not (torch.is_grad_enabled() and images.requires_grad) or self._accepted.get(()) is False:
            return None
        key = tuple(images.shape)
        if key not in self._accepted and not self._accept(images, key):
            return None
        if features and self._head is not None and self._head.features is None:
            return None
        return self._pass(images)

    def _pass(self, images: Tensor) -> Recorded:
        prepared = self._prepared
        assert self._head is not None
        prepared.forwards += 1
        converted = prepared.convert(prepared.normalise(images))
        with math_attention():
            output, features = self._network(converted)
        logits = two_classes(full_precision(prepared.reader.read(_Ready(output), converted)))
        head = self._head
        arrangement = head.arrangement if features is not None else None
        maps = features if features is None or arrangement is None else arrangement.maps(features)
        source = None if arrangement is None else features
        return Recorded(logits, maps, head.weight, head.bias, (), head.norm, source, arrangement)

    def _accept(self, images: Tensor, key: tuple[int, ...]) -> bool:
        """Compile for images of a shape, and compare the logits with the eager ones. Waits for the device."""
        prepared = self._prepared
        passes = prepared.forwards, prepared.backwards
        leaf = images.detach().clone().requires_grad_()
        reason = ""
        try:
            with torch.no_grad():
                expected = prepared.record(leaf.detach())
            if self._network is None:
                self._build(expected, leaf.detach())
            found = self._pass(leaf)
            torch.autograd.grad(found.logits.sum(), leaf)
            error = float((found.logits.detach() - expected.logits).abs().max() / scale(expected.logits))
            if not error <= prepared.tolerance:
                reason = f"its logits differ by {error:.2g} (relative; at most {prepared.tolerance} is accepted)"
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a compiler may raise anything
            reason = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
        finally:
            prepared.forwards, prepared.backwards = passes
        self._accepted[key] = not reason
        if reason:
            self._accepted[()] = False  # for all shapes
            warn(f"the network cannot be compiled ({reason}): its passes are eager instead, and take longer.")
        return not reason

    def _build(self, recorded: Recorded, images: Tensor) -> None:
        self._head = recorded
        part = _features_module(self._prepared, images)
        self._tapped = _Tapped(self._prepared.module, part)
        if part is None:
            self._head = Recorded(recorded.logits, None, recorded.weight, recorded.bias, (), recorded.norm)
            if recorded.features is not None:
                warn(
                    "compile is set, and the classifier's last features are the output of none of its modules: passes "
                    "that read maps are eager. Classifier(..., features=NAME) names the module."
                )
        self._network = torch.compile(self._tapped, dynamic=False, backend=BACKEND)


class _Tapped(nn.Module):
    """A network that also returns the output of one of its modules.

    Args:
        network: the network. It is copied, so that it gets no hook; both have the same weights.
        part: the name of the module; None for none.
    """

    def __init__(self, network: nn.Module, part: str | None) -> None:
        super().__init__()
        shared: dict[int, Any] = {id(tensor): tensor for tensor in chain(network.parameters(), network.buffers())}
        self.network = copied(network, shared)
        self.kept: Tensor | None = None
        if part is not None:
            named_part(self.network, part).register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _given: object, output: Tensor) -> Tensor:
        self.kept = output
        return output.clone()  # the next layer may work in place

    def forward(self, images: Tensor) -> tuple[Any, Tensor | None]:
        output = self.network(images)
        kept, self.kept = self.kept, None
        return output, kept


class _Ready(nn.Module):
    """Stands for a network whose output is there already."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, _images: Tensor) -> Any:
        return self.output


def _features_module(prepared: Prepared, images: Tensor) -> str | None:
    """Find the module whose output are the last convolutional features; None if there is none."""
    if prepared.features is not None:
        return prepared.features
    outputs: list[tuple[str, object]] = []
    handles = [
        part.register_forward_hook(lambda _part, _given, output, name=name: outputs.append((name, output)))
        for name, part in prepared.module.named_modules()
        if name
    ]
    try:
        with torch.no_grad():
            recorded = prepared.record(images[:2])
            features = recorded.features if recorded.source is None else recorded.source
    finally:
        for handle in handles:
            handle.remove()
    # The last one, because an activation in place returns the tensor that it was given.
    return next((name for name, output in reversed(outputs) if output is features), None)
