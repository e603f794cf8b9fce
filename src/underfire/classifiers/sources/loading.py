"""From what a user types to a classifier."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from underfire.classifiers.classifier import Classifier
from underfire.classifiers.sources import (
    hugging_face,
    python_file,
    shipped,
    timm_models,
    torchvision_models,
)
from underfire.classifiers.sources.options import Options, Source
from underfire.classifiers.sources.weights_file import load_weights
from underfire.data.resizing import Resizing
from underfire.errors import InputError, unknown_name

SOURCES: dict[str, Callable[[str, Options], Source]] = {
    "torchvision": torchvision_models.find,
    "timm": timm_models.find,
    "hf": hugging_face.find,
}


def load(
    spec: str,
    *,
    weights: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    image_size: tuple[int, int] | int | None = None,
    resize: int | None = None,
    interpolation: str | None = None,
    channels: int | None = None,
    classes: int | str | None = None,
    features: str | None = None,
) -> Classifier:
    """A classifier from its name, with its own normalisation, image size, resizing and class names where it has them.

    Args:
        spec: the name of a shipped one (see ``names``); ``path/to/file.py:function``, where the function takes no
            argument and returns a ``Classifier``, or an ``nn.Module`` that takes pixels in [0, 1];
            ``torchvision:resnet50``; ``timm:convnext_tiny``; or ``hf:FOLDER_OR_NAME``, a Hugging Face image
            classification checkpoint. ``:random`` at the end of one of the last three asks for random weights.
        weights: a file with a state dict (``.pt``, ``.pth``, ``.bin`` or ``.safetensors``), ``random`` (the same random
            weights each time), or torchvision's name of a set of weights. By default those of the source.
        mean: what is subtracted from pixels in [0, 1], one value per channel; the source's own where None.
        std: what they are divided by then; the source's own where None.
        image_size: height and width, or the side of a square.
        resize: the short side's length before the crop to ``image_size``; as small as possible where None and the
            source does not say.
        interpolation: ``bicubic``, ``bilinear``, ``nearest``, ``lanczos``, ``box`` or ``hamming``.
        channels: 1 or 3; what the first convolution takes where None.
        classes: number of classes, or the path of a text file with one class name per line.
        features: name of the module with the last convolutional features.

    Raises:
        InputError: for an unknown name (with the nearest one), a missing file or function, a package that is not
            installed, weights that cannot be had or do not fit.
        ClassifierError: where the user's function fails, or the network classifies into several labels at once.
    """
    options = Options(
        weights=weights,
        mean=None if mean is None else tuple(mean),
        std=None if std is None else tuple(std),
        image_size=(image_size, image_size) if isinstance(image_size, int) else image_size,
        resize=resize,
        interpolation=interpolation,
        channels=channels,
        classes=None if classes is None else str(classes),
        features=features,
    )
    kind, colon, rest = spec.partition(":")
    if colon and kind in SOURCES:
        if rest.endswith(":random"):
            rest, options = rest.removesuffix(":random"), _with_random(spec, options)
        return _finished(SOURCES[kind](rest, options), options)
    if ".py:" in spec:
        built = python_file.build(*spec.rsplit(":", 1))
        if isinstance(built, Classifier) and options == Options():
            return built
        source = _described(built) if isinstance(built, Classifier) else built
        return _finished(source, _with_own_head(source, options, spec))
    if spec.endswith(".py"):
        raise InputError(f"classifier {spec!r} names a file; add the function that builds it: {spec}:build")
    if spec not in shipped.names():
        known = (*shipped.names(), "file.py:function", "torchvision:NAME", "timm:NAME", "hf:FOLDER_OR_NAME")
        raise _elsewhere(spec) or unknown_name("classifier", spec, known)
    source = shipped.find(spec)
    return _finished(source, _with_own_head(source, options, spec))


def _with_random(spec: str, options: Options) -> Options:
    if options.weights not in (None, "random"):
        raise InputError(f"classifier {spec!r} asks for random weights, and weights is {options.weights!r}: drop one.")
    return replace(options, weights="random")


def _elsewhere(spec: str) -> InputError | None:
    """An error for a network of torchvision's or timm's without its prefix; None for all others, and misspelled ones
    of ours, for which these packages are not even imported."""
    if difflib.get_close_matches(spec, shipped.names(), cutoff=0.8):
        return None
    found = []
    for prefix, source in (("torchvision", torchvision_models), ("timm", timm_models)):
        with suppress(InputError):  # the package is not installed
            found += [f"'{prefix}:{spec.lower()}'"] if source.knows(spec.lower()) else []
    if not found:
        return None
    return InputError(
        f"unknown classifier {spec!r}. Did you mean {' or '.join(found)}? A network of another package has its name "
        f"before a colon; without one, known are {', '.join(shipped.names())}."
    )


def _with_own_head(source: Source, options: Options, spec: str) -> Options:
    """The options for a source that has one set of weights, which no name is needed for, and its own classes."""
    names = source.class_names
    if options.class_count is not None and names is not None and options.class_count != len(names):
        raise InputError(
            f"classes is {options.classes} ({options.class_count} classes), and {spec!r} has {len(names)}. Its number "
            "of outputs cannot be changed; leave --classes out, or take a network with another head (file.py:function)."
        )
    if options.weights is not None and options.file is None:
        raise InputError(
            f"weights is {options.weights!r}; {spec!r} has its own, so expected a file "
            "(.pt, .pth, .bin, .ckpt, .tar or .safetensors) or nothing."
        )
    return options


def _described(classifier: Classifier) -> Source:
    return Source(
        module=classifier.module,
        name=classifier.name,
        mean=classifier.mean,
        std=classifier.std,
        image_size=classifier.image_size,
        resizing=classifier.resizing,
        channels=classifier.channels,
        class_names=classifier.class_names,
        features=classifier.features,
    )


def _finished(source: Source, options: Options) -> Classifier:
    """What the source says, with what the user says instead, and the weights of the user's file."""
    file = options.file
    if file is not None:
        load_weights(source.module, file)
    names = options.class_names or source.class_names
    if options.class_count is not None and names is not None and len(names) != options.class_count:
        names = None  # the source's names are for its own number of classes
    chosen: dict[str, Any] = {}
    for part in ("mean", "std", "image_size", "channels", "features"):
        given = getattr(options, part)
        chosen[part] = getattr(source, part) if given is None else given
    return Classifier(
        source.module.eval(), **chosen, resizing=_resizing(source, options), class_names=names, name=source.name
    )


def _resizing(source: Source, options: Options) -> Resizing:
    """The source's recipe; at another image size its proportions, and of what the user says that."""
    interpolation = options.interpolation or source.resizing.interpolation
    own = source.resizing.to
    if options.resize is not None:
        return Resizing(options.resize, interpolation)
    if options.image_size in (None, source.image_size) or own is None or source.image_size is None:
        return Resizing(own, interpolation)
    if isinstance(own, int):
        ratio = own / min(source.image_size)
        return Resizing(max(round(ratio * min(options.image_size or ())), *(options.image_size or ())), interpolation)
    sides = zip(own, source.image_size, options.image_size or (), strict=True)
    height, width = (round(whole / crop * side) for whole, crop, side in sides)
    return Resizing((height, width), interpolation)
