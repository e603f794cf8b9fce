"""``timm:convnext_tiny``: timm's classifiers, with their own weights and data configuration."""

from __future__ import annotations

import math
from typing import Any

from underfire.classifiers.sources.hub import unreachable
from underfire.classifiers.sources.options import Options, Source
from underfire.classifiers.sources.packages import timm
from underfire.classifiers.sources.seeded import seeded
from underfire.data.resizing import FILTERS, Resizing
from underfire.errors import InputError, unknown_name


def knows(name: str) -> bool:
    """Whether timm has a classifier of that name. Raises InputError where timm is not installed."""
    package: Any = timm()
    return bool(package.is_model(name.split(".")[0]))


def find(name: str, options: Options) -> Source:
    """The classifier that timm calls ``name``, with or without a tag (``resnet50.a1_in1k``).

    Normalisation, image size, crop and filter are those of its pretrained configuration, also for random weights and
    for weights from a file.
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
        extra["img_size"] = options.image_size  # a transformer's positions are made for one size
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
    with seeded():
        if not options.pretrained:
            return package.create_model(name, pretrained=False, **extra)
        config = package.get_pretrained_cfg(name)
        advice = f"Give the file of its weights with --weights FILE, or take random ones with timm:{name}:random."
        if config is None or not config.has_weights:
            raise InputError(f"timm has no weights for {name}. {advice}")
        if options.class_count not in (None, config.num_classes):  # timm would put a random head there without a word
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
        except RuntimeError as error:  # its first convolution has another shape than asked for
            raise InputError(f"timm cannot build {name} with {extra}: {error}") from error


def _per_channel(values: Any, channels: int) -> tuple[float, ...]:
    """One value per channel; for a single channel, timm may keep the three of the colour images."""
    return tuple(values) if len(values) == channels else (sum(values) / len(values),) * channels


def _resizing(config: dict[str, Any], height: int, width: int) -> Resizing:
    interpolation = config["interpolation"] if config["interpolation"] in FILTERS else "bicubic"
    share = config["crop_pct"] or 1.0
    whole = math.floor(height / share), math.floor(width / share)
    if share > 1:  # it would be cropped from a border that is not there
        return Resizing(None, interpolation)
    square = config["crop_mode"] != "squash" and whole[0] == whole[1]
    return Resizing(whole[0] if square else whole, interpolation)


def _class_names(package: Any, module: Any) -> tuple[str, ...] | None:
    """ImageNet's names, where the network is one of its 1,000 classes; timm knows no others."""
    subset = package.data.infer_imagenet_subset(module)
    if subset is None:
        return None
    info = package.data.ImageNetInfo(subset)
    return tuple(info.index_to_description(index) for index in range(info.num_classes()))
