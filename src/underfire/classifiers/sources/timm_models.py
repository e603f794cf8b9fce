"""``timm:convnext_tiny``: timm's classifiers, with their own weights and data configuration."""

from __future__ import annotations

import math
from typing import Any

from underfire.classifiers.sources.hub import unreachable
from underfire.classifiers.sources.options import Options, Source
from underfire.classifiers.sources.packages import timm
from underfire.data.resizing import FILTERS, Resizing
from underfire.errors import InputError, unknown_name
from underfire.training import initial_weights


def knows(name: str) -> bool:
    """Return True if timm has a classifier of that name. Raises InputError if timm is not installed."""
    package: Any = timm()
    return bool(package.is_model(name.split(".")[0]))


def find(name: str, options: Options) -> Source:
    """Load timm's classifier ``name``, with or without the tag of its weights (``resnet50.a1_in1k``).

    Normalisation, image size, crop and filter come from its pretrained configuration, also with random weights and
    weights from a file.
    """
    package: Any = timm()
    if not knows(name):
        raise unknown_name("timm model", name, package.list_models())
    if options.weights is not None and options.pretrained:
        raise InputError(
            f"weights is {options.weights!r}; for timm, name the set behind a dot (timm:{name.split('.')[0]}.TAG), or "
            "expected a file or 'random'."
        )
    extra: dict[str, Any] = {} if options.class_count is None else {"num_classes": options.class_count}
    if options.channels is not None:
        extra["in_chans"] = options.channels
    config = package.get_pretrained_cfg(name)
    if options.image_size is not None and config is not None and config.fixed_input_size:
        extra["img_size"] = options.image_size  # a transformer has position embeddings for one size
    module = _network(package, name, options, extra)
    config = package.data.resolve_model_data_config(module)
    _, height, width = config["input_size"]
    channels = options.channels or config["input_size"][0]
    return Source(
        module,
        name=name,
        mean=_per_channel(config["mean"], channels),
        std=_per_channel(config["std"], channels),
        image_size=(height, width),
        resizing=_resizing(config, height, width),
        channels=channels,
        class_names=_class_names(package, module),
    )


def _network(package: Any, name: str, options: Options, extra: dict[str, Any]) -> Any:
    with initial_weights():
        if not options.pretrained:
            return package.create_model(name, pretrained=False, **extra)
        config = package.get_pretrained_cfg(name)
        advice = f"Give the file of its weights with --weights FILE, or take random ones with timm:{name}:random."
        if config is None or not config.has_weights:
            raise InputError(f"timm has no weights for {name}. {advice}")
        if options.class_count not in (None, config.num_classes):  # timm would silently use a random head
            raise InputError(
                f"classes is {options.class_count}, and timm's weights for {name} have {config.num_classes}: for a "
                f"network with other classes give its own weights too (--weights FILE), or take timm:{name}:random."
            )
        problem = unreachable(config.hf_hub_id, ("model.safetensors", "pytorch_model.bin"))
        if config.hf_hub_id and problem:
            raise InputError(f"timm's weights for {name} cannot be downloaded ({problem}). {advice}")
        try:
            return package.create_model(name, pretrained=True, **extra)
        except OSError as error:
            raise InputError(f"timm's weights for {name} cannot be downloaded ({error}). {advice}") from error
        except RuntimeError as error:  # the first convolution cannot take the channels asked for
            raise InputError(f"timm cannot build {name} with {extra}: {error}") from error


def _per_channel(values: Any, channels: int) -> tuple[float, ...]:
    """Return one value per channel: for one channel, the mean of the three values that timm may keep."""
    return tuple(values) if len(values) == channels else (sum(values) / len(values),) * channels


def _resizing(config: dict[str, Any], height: int, width: int) -> Resizing:
    interpolation = config["interpolation"] if config["interpolation"] in FILTERS else "bicubic"
    share = config["crop_pct"] or 1.0
    whole = math.floor(height / share), math.floor(width / share)
    if share > 1:  # the crop would be larger than the image
        return Resizing(None, interpolation)
    square = config["crop_mode"] != "squash" and whole[0] == whole[1]
    return Resizing(whole[0] if square else whole, interpolation)


def _class_names(package: Any, module: Any) -> tuple[str, ...] | None:
    """Return ImageNet's class names if the network has ImageNet's classes; timm knows no other names."""
    subset = package.data.infer_imagenet_subset(module)
    if subset is None:
        return None
    info = package.data.ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))
