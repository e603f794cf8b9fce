"""A built-in data set: photographs that ship with scikit-image and scikit-learn, under free licences."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from underfire.data.dataset import ImageData, Record
from underfire.data.decode import decode_image, read_bytes
from underfire.data.pixels import Picture
from underfire.errors import InputError


@dataclass(frozen=True)
class Photograph:
    """A photograph in a file of an installed package.

    Args:
        label: the class of ImageNet that fits best.
        package: the package that ships the file.
        file: its path inside the package.
        licence: licence and author.
    """

    label: str
    package: str
    file: str
    licence: str

    @property
    def name(self) -> str:
        """The name of the file without its ending."""
        return Path(self.file).stem


PHOTOGRAPHS = (
    Photograph("tiger cat", "skimage", "data/chelsea.png", "CC0, Stefan van der Walt"),
    Photograph("espresso", "skimage", "data/coffee.png", "CC0, Rachel Michetti"),
    Photograph("tripod", "skimage", "data/camera.png", "CC0, Lav Varshney"),
    Photograph("palace", "sklearn", "datasets/images/china.jpg", "CC BY 2.0, danielbuechele on Flickr"),
    Photograph("daisy", "sklearn", "datasets/images/flower.jpg", "CC BY 2.0, vultilion on Flickr"),
)
"""Those with an object that is a class of ImageNet. The flower is a dahlia, which ImageNet calls a daisy if anything.

scikit-image's function of the same name (``skimage.data.chelsea``) and ``sklearn/datasets/images/README.txt`` state the
licences.
"""


class Photographs(ImageData):
    """Five photographs: a cat, a cup of coffee, a photographer with a tripod, a palace and a flower.

    Raises:
        InputError: scikit-image is not installed.
    """

    name = "photos"
    class_names = tuple(photograph.label for photograph in PHOTOGRAPHS)

    def __init__(self) -> None:
        self._files = [_file(photograph) for photograph in PHOTOGRAPHS]

    def __len__(self) -> int:
        return len(PHOTOGRAPHS)

    def record(self, index: int) -> Record:
        image_id = f"photos/{PHOTOGRAPHS[self._checked(index)].name}"
        return Record(image_id, image_id, index)

    def read(self, index: int) -> Picture:
        """Return the photograph in its own size and mode (RGB, or L for the photographer)."""
        file = self._files[self._checked(index)]
        return decode_image(read_bytes(file), str(file))

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr(self.class_names).encode())
        for file in self._files:
            digest.update(hashlib.sha256(read_bytes(file)).digest())
        return digest.hexdigest()


def _file(photograph: Photograph) -> Path:
    """Find the file without importing its package."""
    spec = find_spec(photograph.package)
    if spec is None or spec.origin is None:
        raise InputError(
            "the built-in photographs are those that scikit-image ships, which is not installed. Install it with pip "
            "install 'underfire[photos]'."
        )
    return Path(spec.origin).parent / photograph.file
