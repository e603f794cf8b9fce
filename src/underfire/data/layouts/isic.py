"""ISIC's ground truth: a column ``image`` without suffixes, and a column per diagnosis with 1.0 for the right one.

The challenges of 2018 (task 3) and 2019: https://challenge.isic-archive.com/data.
"""

from __future__ import annotations

from underfire.data.columns import NO_CLASSES
from underfire.data.tables import Table, squeeze

_CLASSES_2018 = {"mel", "nv", "bcc", "akiec", "bkl", "df", "vasc"}
_CLASSES_2019 = {"mel", "nv", "bcc", "ak", "bkl", "df", "vasc", "scc", "unk"}


def name_of(table: Table) -> str | None:
    """Return the name of the layout; None if ``table`` is another one."""
    first, *classes = [name for name in table.squeezed() if name not in map(squeeze, NO_CLASSES)] or [""]
    if first != "image" or len(classes) < 2:
        return None
    if set(classes) <= _CLASSES_2018:
        return "ISIC 2018 ground truth"
    return "ISIC 2019 ground truth" if set(classes) <= _CLASSES_2019 else None
