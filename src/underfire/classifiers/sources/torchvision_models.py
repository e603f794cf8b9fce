"""``torchvision:resnet50``: torchvision's classifiers, with their own weights, transforms and class names."""

from __future__ import annotations

from typing import Any

from underfire.arguments import check_known
from underfire.classifiers.sources.options import Options, Source
from underfire.classifiers.sources.packages import torchvision
from underfire.data.resizing import Resizing
from underfire.errors import InputError, unknown_name
from underfire.training import initial_weights


def knows(name: str) -> bool:
    """Return True if torchvision has a classifier of that name. Raises InputError if torchvision is not installed."""
    models: Any = torchvision().models
    return name in models.list_models(module=models)


def find(name: str, options: Options) -> Source:
    """Load torchvision's classifier ``name`` with the weights ``options.weights`` (``DEFAULT`` if None).

    Normalisation and resizing come from these weights, or from the default weights if random ones or a file are used.
    """
    models: Any = torchvision().models
    known = models.list_models(module=models)  # without detection, segmentation and video
    check_known("torchvision classifier", name, known)
    sets = models.get_model_weights(name)
    if options.pretrained:
        wanted = options.weights or "DEFAULT"
        if wanted not in sets.__members__:
            raise unknown_name(f"set of weights of torchvision's {name}", wanted, ("random", *sets.__members__))
        chosen = sets[wanted]
    else:
        chosen = sets.DEFAULT
    names = tuple(chosen.meta["categories"])
    if options.pretrained and options.class_count not in (None, len(names)):
        raise InputError(
            f"classes is {options.classes}, and torchvision's weights for {name} have {len(names)}: for a network with "
            "another head, give the file of its weights, or 'random'."
        )
    transforms = chosen.transforms()
    size = transforms.crop_size[0]
    return Source(
        _network(models, name, chosen if options.pretrained else None, options.class_count or len(names)),
        name=name,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        image_size=(size, size),
        resizing=Resizing(max(transforms.resize_size[0], size), transforms.interpolation.value),
        class_names=names if options.pretrained or options.class_count in (None, len(names)) else None,
    )


def _network(models: Any, name: str, weights: Any, classes: int) -> Any:
    # The auxiliary heads are for training, and the published weights of these two alone have them.
    extra = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    with initial_weights():
        if weights is None:
            return models.get_model(name, weights=None, num_classes=classes, **extra)
        try:
            return models.get_model(name, weights=weights)
        except OSError as error:
            raise InputError(
                f"torchvision's weights for {name} cannot be downloaded ({error}). Fetch {weights.url} where there is "
                f"a network and give the file with --weights FILE, or take random weights: torchvision:{name}:random."
            ) from error
