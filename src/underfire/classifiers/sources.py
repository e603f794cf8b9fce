"""Classifiers by name: those that ship, and ``file.py:function``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

from torch import nn

from underfire.classifiers.classifier import Classifier
from underfire.errors import ClassifierError, InputError, unknown_name
from underfire.zoo import recipes, weights


def load(spec: str) -> Classifier:
    """A classifier from its name.

    Args:
        spec: the name of a shipped one (see :func:`names`), or ``path/to/file.py:function``, where the function takes
            no argument and returns a :class:`Classifier`, or an ``nn.Module`` that takes pixels in [0, 1].

    Raises:
        InputError: for an unknown name (with the nearest one), a missing file or a missing function.
        ClassifierError: where the function fails or returns something else.
    """
    if ".py:" in spec:
        return _from_file(*spec.rsplit(":", 1))
    if spec.endswith(".py"):
        raise InputError(f"classifier {spec!r} names a file; add the function that builds it: {spec}:build")
    if spec not in names():
        raise unknown_name("classifier", spec, (*names(), "file.py:function"))
    recipe = recipes.find(spec)
    network = recipe.network()
    network.load_state_dict(weights.read(recipe))
    return Classifier(
        network.eval(),
        mean=recipe.mean,
        std=recipe.std,
        image_size=recipe.image_size,
        channels=recipe.channels,
        class_names=recipe.class_names,
        name=recipe.name,
    )


def names() -> list[str]:
    """The shipped classifiers."""
    return [name for name in recipes.RECIPES if weights.path(name).exists()]


def _from_file(file: str, function: str) -> Classifier:
    path = Path(file)
    if not path.is_file():
        raise InputError(f"classifier file {file!r} does not exist (looked in {Path.cwd()}).")
    module_spec = importlib.util.spec_from_file_location(f"underfire_user_{path.stem}", path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:
        raise ClassifierError(f"{file} cannot be run: {type(error).__name__}: {error}") from error
    if not hasattr(module, function):
        found = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
        raise unknown_name(f"function of {file}", function, found)
    try:
        built = getattr(module, function)()
    except Exception as error:
        raise ClassifierError(f"{file}:{function} failed: {type(error).__name__}: {error}") from error
    if isinstance(built, Classifier):
        return built
    if not isinstance(built, nn.Module):
        raise ClassifierError(
            f"{file}:{function} returned a {type(built).__name__}; expected an underfire.Classifier or an nn.Module."
        )
    return Classifier(built, name=f"{path.stem}:{function}")
