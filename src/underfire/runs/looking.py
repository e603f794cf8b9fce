"""Orders in which a run looks for images to attack: the order of the data, or the classes in turn."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections import defaultdict, deque
from collections.abc import Sequence

from underfire.data import ImageData

BATCH = 64
"""The largest number of images that are classified at once."""


class Order(ABC):
    """An order of looking for images. It hears which images are attacked, because later ones may depend on that."""

    @abstractmethod
    def propose(self, wanted: int | None) -> Sequence[int]:
        """Return the indices of the next images to classify, each index once in all; empty at the end.

        Args:
            wanted: the number of images that are still to be found; if None, all.
        """

    @abstractmethod
    def hear(self, index: int) -> None:
        """Note that an image that was proposed is attacked."""


class InOrder(Order):
    """The order of the data.

    Args:
        data: the images.
        count: the number of images to attack; all if None.
    """

    def __init__(self, data: ImageData, count: int | None) -> None:
        self.total = len(data)
        self.size = BATCH if count is None else max(8, min(BATCH, count))
        self.begin = 0

    def propose(self, wanted: int | None) -> Sequence[int]:
        found = range(self.begin, min(self.begin + self.size, self.total))
        self.begin = found.stop
        return found

    def hear(self, index: int) -> None:
        pass


class Balanced(Order):
    """The classes in turn, so that each true class has as equal a number of attacked images as possible.

    The images of each class are in an order that is drawn from the seed and their ids. The next image always comes
    from the class that has the fewest so far; of several such classes, from the one whose first image was drawn
    first. A class in which no image is left takes no more turns. So the numbers of two classes differ by at most 1,
    unless the class with fewer images has none left. The order of classes, and of images, does not count.

    No image is decoded to be put in order: labels are known without that, unless they are predicted.

    Args:
        data: the images.
        seed: of the order of the images of a class.
        excluded_class: images of this class are not looked at.
    """

    def __init__(self, data: ImageData, seed: int, excluded_class: int | None = None) -> None:
        drawn = []
        for index in range(len(data)):
            record = data.record(index)
            if record.label != excluded_class:
                digest = hashlib.sha256(f"{seed}/balance/{record.image_id}".encode()).digest()
                drawn.append((digest, index, record.label))
        self.label = {index: label for _, index, label in drawn}
        self.left: dict[int, deque[int]] = defaultdict(deque)  # classes in the order of their first images
        for _, index, label in sorted(drawn):
            self.left[label].append(index)
        self.found = dict.fromkeys(self.left, 0)

    def propose(self, wanted: int | None) -> Sequence[int]:
        """Return the images that are looked at in any case, whatever the classifier says of each of them.

        These are the images of the next ``wanted`` turns, if each of them would give an image to attack: an image that
        does not only makes further images necessary.
        """
        turns = BATCH if wanted is None else min(wanted, BATCH)
        chosen: list[int] = []
        found = dict(self.found)
        while len(chosen) < turns and (classes := [label for label, images in self.left.items() if images]):
            label = min(classes, key=found.__getitem__)
            chosen.append(self.left[label].popleft())
            found[label] += 1
        return chosen

    def hear(self, index: int) -> None:
        self.found[self.label[index]] += 1
