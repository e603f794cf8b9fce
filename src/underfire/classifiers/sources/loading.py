"""Loading of a classifier from its name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch import nn

from underfire import user_files
from underfire.classifiers.classifier import Classifier
from underfire.classifiers.sources import hugging_face, packages, shipped, timm_models, torchvision_models
from underfire.classifiers.sources.options import Options, Source
from underfire.classifiers.sources.weights_file import load_weights
from underfire.data.resizing import Resizing
from underfire.errors import ClassifierError, InputError, UserCodeError, unknown_name
from underfire.registry import Registry

Finder = Callable[[str, Options], Source | Classifier | nn.Module]
"""Finds a network by the name after the prefix, with the weights and number of classes that the options ask for."""


def _finder(value: Any) -> Finder:
    if not callable(value):
        raise TypeError("expected a function that takes a name and Options and returns a network")
    found: Finder = value
    return found


SOURCES: Registry[Finder] = Registry(
    "classifier source",
    "underfire.classifiers",
    {"torchvision": torchvision_models.find, "timm": timm_models.find, "hf": hugging_face.find},
    _finder,
)
"""The sources of classifiers by the prefix of the name: ``torchvision`` finds ``torchvision:resnet50``."""


def load(
    spec: str,
    *,
    weights: str | None = None,
    weights_key: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    image_size: tuple[int, int] | int | None = None,
    resize: int | None = None,
    interpolation: str | None = None,
    channels: int | None = None,
    bounds: tuple[float, float] | None = None,
    channel_order: str | None = None,
    classes: int | str | None = None,
    features: str | None = None,
    output: str | int | None = None,
) -> Classifier:
    """Load a classifier by name, with the normalisation, image size, resizing and class names of its source.

    Args:
        spec: one of:

            - the name of a shipped classifier (see ``names``);
            - ``path/to/file.py:function``, where the function takes no argument and returns a ``Classifier``, or an
              ``nn.Module`` that takes pixels in [0, 1];
            - ``torchvision:resnet50``, ``timm:convnext_tiny``, or ``hf:FOLDER_OR_NAME`` for a Hugging Face image
              classification checkpoint;
            - ``PREFIX:NAME``, if an installed package offers PREFIX as an entry point of ``underfire.classifiers``.

            After a prefix or a shipped name, ``:random`` at the end asks for random weights.
        weights: a file with a state dict (``.pt``, ``.pth``, ``.ckpt``, ``.safetensors``, ...), a folder with one, in
            one piece or several, ``random`` (the same random weights each time), or torchvision's name of a set of
            weights; the source's own weights if None.
        weights_key: which of several sets of weights in the file is taken: the leading part of its names, such as
            ``model_ema``. If None, the set that fits best; a warning names the others.
        mean: subtracted from pixels in [0, 1], one value per channel; the source's own if None.
        std: the divisor after that; the source's own if None.
        image_size: height and width, or the side of a square.
        resize: length of the short side before the crop to ``image_size``; if None and the source does not say, as
            small as possible.
        interpolation: ``bicubic``, ``bilinear``, ``nearest``, ``lanczos``, ``box`` or ``hamming``.
        channels: 1 (grey), 3 (RGB) or more; if None, the number that the first convolution takes.
        bounds: the smallest and the largest pixel that the network takes, such as (-1, 1) or (0, 255); (0, 1) if None.
            ``mean`` and ``std`` are in these units then, and without them the network takes the pixels as they are.
        channel_order: ``bgr`` for a network that takes blue before red, as OpenCV reads images; ``mean`` and ``std``
            are in this order, too.
        classes: number of classes, or the path of a text file with one class name per line.
        features: name of the module with the last convolutional features.
        output: the key or number of the logits in what the network returns; see ``Classifier``.

    Raises:
        InputError: the name is unknown (the message has the nearest one), a file or function does not exist, a package
            is not installed, or the weights cannot be found or do not fit.
        ClassifierError: the user's function fails, or the network classifies into several labels at once.
    """
    if not isinstance(spec, str):
        raise InputError(f"spec is {spec!r:.80}; expected a name, such as cifar10-resnet20 or file.py:function.")
    options = Options(
        weights=weights,
        weights_key=weights_key,
        mean=None if mean is None else tuple(mean),
        std=None if std is None else tuple(std),
        image_size=(image_size, image_size) if isinstance(image_size, int) else image_size,
        resize=resize,
        interpolation=interpolation,
        channels=channels,
        bounds=bounds,
        channel_order=channel_order,
        classes=None if classes is None else str(classes),
        features=features,
        output=None if output is None else str(output),
    )
    file, (prefix, colon, name) = user_files.split(spec), spec.partition(":")
    find = SOURCES.get(prefix) if colon and file is None else None
    bare = spec.removesuffix(":random")
    if bare != spec and (find is not None or bare in shipped.names()):
        name, options = name.removesuffix(":random"), _with_random(spec, options)
    if find is not None:
        found = find(name, options)
    elif file is not None:
        found = _of_file(*file)
        name = f"{Path(file[0]).stem}:{file[1]}"
    elif bare in shipped.names():
        found = shipped.find(bare, random=options.weights == "random")
        options = replace(options, weights=None) if options.weights == "random" else options
    else:
        raise _unknown(spec)
    if isinstance(found, Classifier) and options == Options():
        return found
    source = _source(found, name, spec)
    if find is None:
        _check_fixed(source, options, spec)
    return _finished(source, options)


def _with_random(spec: str, options: Options) -> Options:
    if options.weights not in (None, "random"):
        raise InputError(f"classifier {spec!r} asks for random weights, and weights is {options.weights!r}: drop one.")
    return replace(options, weights="random")


def _of_file(file: str, name: str) -> Any:
    """Call a function in a user's file; once more if the file imports a torchvision that does not fit torch."""
    try:
        return user_files.load(file, name, "classifier", call=True)
    except UserCodeError:
        if not packages.torchvision_mended():
            raise
    return user_files.load(file, name, "classifier", call=True)


def _unknown(spec: str) -> InputError:
    """Describe a name that no source knows, with the name that was probably meant."""
    if spec.rstrip(":").endswith(".py"):
        file = spec.rstrip(":")
        return InputError(f"classifier {spec!r} names a file; add the function that builds it: {file}:build")
    forms = {"hf": "hf:FOLDER_OR_NAME"}
    known = (*shipped.names(), "file.py:function", *(forms.get(prefix, f"{prefix}:NAME") for prefix in SOURCES))
    if difflib.get_close_matches(spec, shipped.names(), cutoff=0.8):
        return unknown_name("classifier", spec, known)  # a misspelled name of ours: no need to import other packages
    found = []
    for prefix, source in (("torchvision", torchvision_models), ("timm", timm_models)):
        with suppress(InputError):  # the package is not installed
            found += [f"'{prefix}:{spec.lower()}'"] if source.knows(spec.lower()) else []
    if not found:
        return unknown_name("classifier", spec, known)
    return InputError(
        f"unknown classifier {spec!r}. Did you mean {' or '.join(found)}? A network of another package has its name "
        f"before a colon; without one, known are {', '.join(shipped.names())}."
    )


def _source(found: object, name: str, spec: str) -> Source:
    """Describe what a source or a user's function returned. Raises ClassifierError if it is no network."""
    if isinstance(found, Source):
        return found
    if isinstance(found, Classifier):
        own = {part.name: getattr(found, part.name) for part in fields(Source) if part.name != "output"}
        return Source(**own, output=found.reader.entry)
    if isinstance(found, nn.Module):
        return Source(found, name=name)
    raise ClassifierError(
        f"{spec} returned an object of type {type(found).__name__}; expected an underfire.Classifier or an nn.Module."
    )


def _check_fixed(source: Source, options: Options, spec: str) -> None:
    """Raise InputError if the options ask for other classes or named weights of a network that has its own."""
    names = source.class_names
    if options.class_count is not None and names is not None and options.class_count != len(names):
        raise InputError(
            f"classes is {options.classes} ({options.class_count} classes), and {spec!r} has {len(names)}. Its number "
            "of outputs cannot be changed; leave --classes out, or take a network with another head (file.py:function)."
        )
    if options.weights is not None and options.file is None:
        raise InputError(
            f"weights is {options.weights!r}; {spec!r} has its own, so expected a file "
            "(.pt, .pth, .th, .bin, .ckpt, .tar or .safetensors), a folder with one, or nothing."
        )


def _finished(source: Source, options: Options) -> Classifier:
    """Make the classifier: the options replace values of the source, and a weights file is loaded."""
    file, notes = options.file, source.notes
    if file is not None:
        notes = (*notes, load_weights(source.module, file, options.weights_key))
    names = options.class_names or source.class_names
    if options.class_count is not None and names is not None and len(names) != options.class_count:
        names = None  # the source's names are for its own number of classes
    chosen: dict[str, Any] = {}
    for part in ("mean", "std", "image_size", "channels", "features", "output"):
        given = getattr(options, part)
        own = None if options.bounds is not None and part in ("mean", "std") else getattr(source, part)
        chosen[part] = own if given is None else given
    return Classifier(
        source.module.eval(),
        **chosen,
        resizing=_resizing(source, options),
        class_names=names,
        name=source.name,
        notes=notes,
        bounds=options.bounds,
        channel_order=options.channel_order,
    )


def _resizing(source: Source, options: Options) -> Resizing:
    """Choose the resizing: as the options say, or else as the source, in proportion if the image size is another."""
    interpolation = options.interpolation or source.resizing.interpolation
    own, size = source.resizing.to, options.image_size
    if options.resize is not None:
        return Resizing(options.resize, interpolation)
    if size is None or source.image_size is None or size == source.image_size or own is None:
        return Resizing(own, interpolation)
    if isinstance(own, int):
        return Resizing(max(round(own / min(source.image_size) * min(size)), *size), interpolation)
    height, width = (round(whole / crop * side) for whole, crop, side in zip(own, source.image_size, size, strict=True))
    return Resizing((height, width), interpolation)
