"""The logits in what a network returns: a tensor, or a dict, a tuple or another object that holds one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from underfire.classifiers.failures import network_failure
from underfire.classifiers.features import FeatureTap
from underfire.errors import ClassifierError, UnderfireError

NAMES = ("logits", "out", "output", "pred")
"""Usual names of the logits in a dict, or in another object with named entries."""


class LogitsReader:
    """Runs a network and reads its logits from whatever it returns.

    Args:
        entry: the key or number of the logits, if the network returns more than a tensor; found if None.
        classes: the number of classes, if it is known.
    """

    def __init__(self, entry: str | None = None, classes: int | None = None) -> None:
        self.entry = entry
        self.classes = classes
        self._found: str | None = None

    def read(self, network: nn.Module, images: Tensor) -> Tensor:
        """Run ``network`` on prepared images N x C x H x W, and return its logits N x K, K >= 1.

        Raises:
            ClassifierError: the network fails, or returns no logits or several tensors that could be them.
        """
        output = _call(network, images)
        if self.entry is not None:
            logits = _named(output, self.entry)
        elif isinstance(output, Tensor):
            logits = output
        else:
            if self._found is None:
                self._found = self._find(network, images, output)
            logits = _named(output, self._found)
        return _rows(logits, len(images))

    def _find(self, network: nn.Module, images: Tensor, output: Any) -> str:
        """Return the key or number of the logits in ``output``, if there is no doubt."""
        entries = _entries(output)
        named = [name for name in NAMES if isinstance(entries.get(name), Tensor)]
        if len(named) == 1:
            return named[0]
        if not isinstance(output, tuple | list) or not entries or named:
            raise _doubt(
                output, "expected a tensor of logits N x K, or exactly one entry called logits, out, output or pred"
            )
        name, first = next(iter(entries.items()))
        if not isinstance(first, Tensor) or (len(entries) > 1 and not _is_table(first, len(images))):
            raise _doubt(output, "expected logits N x K as its first entry")
        others = [each for each in list(entries.values())[1:] if _is_table(each, len(images))]
        if all(each.shape == first.shape for each in others):
            return name
        if self.classes is not None:
            if first.shape[1] == self.classes:
                return name
            raise _doubt(output, f"expected logits N x {self.classes} as its first entry")
        if _comes_from_head(network, images, name):
            return name
        raise _doubt(
            output, "two of its entries could be the logits, and its first does not come from the last linear layer"
        )


def _call(network: nn.Module, images: Tensor) -> Any:
    try:
        return network(images)
    except (UnderfireError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # the user's own code may raise anything
        raise network_failure(network, images, error) from error


def _entries(output: Any) -> dict[str, Any]:
    """Return the entries of an output by key, by the name of the attribute, or by number."""
    if isinstance(output, Mapping):
        return {str(key): value for key, value in output.items()}
    if isinstance(output, tuple | list):
        names = getattr(output, "_fields", None) or range(len(output))
        return {str(name): value for name, value in zip(names, output, strict=True)}
    return {name: getattr(output, name) for name in NAMES if isinstance(getattr(output, name, None), Tensor)}


def _named(output: Any, name: str) -> Tensor:
    """Return the entry that the user named, or that was found before."""
    entries = _entries(output)
    if isinstance(output, tuple | list):
        entries |= {str(number): value for number, value in enumerate(output)}
    found = entries.get(name, getattr(output, name, None) if not isinstance(output, Tensor) else None)
    if not isinstance(found, Tensor):
        raise ClassifierError(
            f"output is {name!r}, and the network returns {_described(output)}; expected the key or number of a tensor "
            "in it."
        )
    return found


def _comes_from_head(network: nn.Module, images: Tensor, name: str) -> bool:
    """Return True if the entry ``name`` is the output of the last linear layer that runs."""
    with FeatureTap() as tap:
        output = _call(network, images)
    return tap.head_output is not None and _entries(output)[name].data_ptr() == tap.head_output.data_ptr()


def _is_table(value: Any, count: int) -> bool:
    return isinstance(value, Tensor) and value.ndim == 2 and len(value) == count and value.is_floating_point()


def _rows(logits: Tensor, count: int) -> Tensor:
    """Return logits as N x K, also if the network has dropped dimensions of length 1, as ``squeeze()`` does.

    Raises:
        ClassifierError: they have another shape, or are whole numbers, also in floating point.
    """
    shape = tuple(logits.shape)
    if not logits.is_floating_point():
        raise ClassifierError(
            f"the classifier returns {str(logits.dtype).removeprefix('torch.')} of shape {shape} for {count} images; "
            "expected logits N x K in floating point. Whole numbers look like numbers of classes: return what argmax "
            "was given, a score for each class."
        )
    if logits.ndim > 2 and all(side == 1 for side in shape[2:]):
        logits = logits.flatten(1)
    elif logits.ndim == 0 or (logits.ndim == 1 and count == 1):
        logits = logits.reshape(1, -1)  # one image: the dimension of the batch is lost
    elif logits.ndim == 1:
        logits = logits.unsqueeze(1)  # one logit for each image
    if logits.ndim != 2 or len(logits) != count:
        raise ClassifierError(f"the classifier returns shape {shape} for {count} images; expected logits N x K.")
    if logits.shape[1] == 1 and not logits.requires_grad and _are_class_numbers(logits):
        raise ClassifierError(
            f"the classifier returns a single whole number per image, such as {int(logits.max())}, and these have no "
            "gradient; expected logits N x K, or one logit per image. They look like numbers of classes, converted to "
            f"{str(logits.dtype).removeprefix('torch.')}: return what argmax was given, a score for each class."
        )
    return logits


def _are_class_numbers(values: Tensor) -> bool:
    """Return True if ``values`` are whole numbers from 0, and not all alike, as those of a dead network may be."""
    whole = bool(((values == values.round()) & (values >= 0) & values.isfinite()).all())
    return whole and bool((values != values[0]).any())


def _described(output: Any) -> str:
    """Describe an output for messages: ``a tuple with 0 (2 x 16), 1 (2 x 3)``."""
    kind = type(output).__name__
    if isinstance(output, Tensor):
        return f"a tensor {' x '.join(map(str, output.shape))}"
    shown = [
        f"{name} ({' x '.join(map(str, value.shape)) if isinstance(value, Tensor) else type(value).__name__})"
        for name, value in _entries(output).items()
    ]
    return f"a {kind} with {', '.join(shown)}" if shown else f"a {kind}"


def _doubt(output: Any, why: str) -> ClassifierError:
    return ClassifierError(
        f"the network returns {_described(output)}; {why}. Name the entry that holds the logits, with --output KEY on "
        "the command line or Classifier(..., output=KEY), where KEY is a key or a number from 0."
    )
