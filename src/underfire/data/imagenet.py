"""The 1,000 classes of ImageNet (ILSVRC 2012): their names and WordNet ids, in the usual order of classifiers.

``imagenet_class_index.json`` holds them in the layout that Keras made usual: class number, WordNet id, name. The ids
are those of WordNet 3.0, and their order is alphabetical; the names are the first word of each WordNet entry.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path

CLASS_INDEX = Path(__file__).with_name("imagenet_class_index.json")
"""The file of classes, as ``read_class_map`` reads it."""
CLASSES = 1000
"""The number of classes."""


@cache
def imagenet_class_names() -> tuple[str, ...]:
    """Return the names of the classes, such as ``tiger cat``, in the usual order.

    Two names belong to two classes each ("crane", "maillot"). Their WordNet ids tell them apart: ``crane (n02012849)``.
    """
    entries = json.loads(CLASS_INDEX.read_text(encoding="utf-8"))
    pairs = [entries[str(number)] for number in range(CLASSES)]
    times = Counter(name for _, name in pairs)
    names = [name if times[name] == 1 else f"{name} ({wordnet_id})" for wordnet_id, name in pairs]
    return tuple(name.replace("_", " ") for name in names)


def is_wordnet_id(name: str) -> bool:
    """Return True if ``name`` looks like the WordNet id of a noun, such as ``n02123159``."""
    return re.fullmatch(r"n\d{8}", name) is not None
