"""HAM10000's metadata: columns ``image_id`` (without suffix) and ``dx``, images in several folders beside the table.

Tschandl et al. 2018, https://doi.org/10.7910/DVN/DBW86T.
"""

from __future__ import annotations

from underfire.data.tables import Table


def name_of(table: Table) -> str | None:
    """Return the name of the layout; None if ``table`` is another one."""
    return "HAM10000 metadata" if {"lesionid", "imageid", "dx"} <= set(table.squeezed()) else None
