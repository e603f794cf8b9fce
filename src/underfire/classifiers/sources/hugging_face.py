"""``hf:FOLDER_OR_NAME``: Hugging Face image classification checkpoints. A folder is read without any network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import nn

from underfire.classifiers.conventions import ReversedChannels
from underfire.classifiers.sources.hub import unreachable
from underfire.classifiers.sources.options import Options, Source
from underfire.classifiers.sources.packages import transformers
from underfire.classifiers.sources.processor import normalisation, size_and_resizing
from underfire.classifiers.sources.safe_types import allowing_harmless_types
from underfire.classifiers.sources.torch_file import check_torch_file
from underfire.errors import ClassifierError, InputError, UnderfireError
from underfire.text import first_few
from underfire.training import initial_weights


def find(name: str, options: Options) -> Source:
    """Load the checkpoint in the folder ``name``, or the checkpoint of that name on the hub if there is no such folder.

    Normalisation, image size and resizing come from its image processor, class names from ``id2label``.
    """
    package: Any = transformers()
    if options.weights is not None and options.pretrained:
        raise InputError(
            f"weights is {options.weights!r}; a checkpoint has its own weights: expected a file or 'random'."
        )
    local = os.path.isdir(Path(name).expanduser())
    where = str(Path(name).expanduser()) if local else name
    if not local:
        _check_reachable(name)
    how = {"local_files_only": local}
    try:
        config = package.AutoConfig.from_pretrained(where, **how)
    except (OSError, ValueError) as error:
        raise InputError(f"{name!r} holds no configuration that transformers can read: {_short(error)}") from error
    _check_single_label(config, name)
    if options.class_count is not None:
        config.num_labels = options.class_count
    module = _network(package, where, config, options, how)
    processor = _processor(package, where, how)
    mean, std = normalisation(processor)
    size, resizing = size_and_resizing(processor)
    reverse = bool(processor.get("do_flip_channel_order"))
    return Source(
        ReversedChannels(module) if reverse else module,
        name=Path(where).name,
        mean=mean[::-1] if reverse and mean else mean,
        std=std[::-1] if reverse and std else std,
        image_size=size,
        resizing=resizing,
        channels=getattr(config, "num_channels", None),
        class_names=_class_names(config),
    )


def _check_reachable(name: str) -> None:
    looks_like_a_path = name.startswith((".", "/", "~")) or name.count("/") > 1
    problem = None if looks_like_a_path else unreachable(name, ("config.json",))
    if looks_like_a_path or problem:
        why = f"cannot be downloaded ({problem})" if problem else "is not there"
        raise InputError(
            f"the Hugging Face checkpoint {name!r} {why}, and no folder of that name exists. Fetch it where there is a "
            "network (hf download NAME --local-dir FOLDER) and give the folder: hf:FOLDER."
        )


def _check_single_label(config: Any, name: str) -> None:
    if getattr(config, "problem_type", None) == "multi_label_classification":
        raise ClassifierError(
            f"{name!r} classifies into several labels at once (problem_type is 'multi_label_classification' in its "
            "configuration). Attacks change the one most likely class, which such a network does not have."
        )


def _network(package: Any, where: str, config: Any, options: Options, how: dict[str, Any]) -> nn.Module:
    auto = package.AutoModelForImageClassification
    with initial_weights():
        try:
            if not options.pretrained:
                built: nn.Module = auto.from_config(config)
                return built
            _check_pickles(Path(where))
            with allowing_harmless_types():
                built, info = auto.from_pretrained(where, config=config, output_loading_info=True, **how)
        except UnderfireError:
            raise
        except Exception as error:  # its readers of weights raise errors of many kinds
            raise InputError(f"{where!r} cannot be loaded for image classification: {_short(error)}") from error
    missing = sorted(info["missing_keys"])
    if missing:
        raise InputError(
            f"{where!r} lacks {len(missing)} of the network's weights ({first_few(missing)}): it looks like a "
            "checkpoint without a classifier's head, which would be random."
        )
    return built


def _check_pickles(folder: Path) -> None:
    """Check that the weights in a folder can be read without running code, if there are no safetensors."""
    if any(folder.glob("*.safetensors")):
        return
    for file in sorted(folder.glob("pytorch_model*.bin")):
        check_torch_file(file)


def _processor(package: Any, where: str, how: dict[str, Any]) -> dict[str, Any]:
    try:
        found: dict[str, Any] = package.AutoImageProcessor.from_pretrained(where, **how).to_dict()
    except (OSError, ValueError):
        return {}  # a checkpoint without one takes pixels in [0, 1], unless --mean and --std say otherwise
    return found


def _class_names(config: Any) -> tuple[str, ...] | None:
    names = tuple(str(config.id2label.get(index, index)) for index in range(config.num_labels))
    return None if all(name == f"LABEL_{index}" for index, name in enumerate(names)) else names


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
