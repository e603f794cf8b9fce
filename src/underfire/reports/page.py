"""The page of one or more runs: an HTML file with its pictures in a folder beside it. It needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from underfire.errors import InputError
from underfire.reports import curves, trust, words
from underfire.reports.account import Account, Source, correct_together, labels_of, open_accounts
from underfire.reports.blocks import Record, Remarks, filters
from underfire.reports.detection_page import DETECTORS, detector_table
from underfire.reports.document import Block, Section, write_document
from underfire.reports.gallery import gallery
from underfire.reports.points import trade_off_chart
from underfire.reports.rows import class_table, numbers_table, outlier_table
from underfire.reports.summary import summary
from underfire.reports.thumbnails import PictureFolder
from underfire.text import plain

IMAGES = 1000
"""The largest number of images in the gallery of a page, unless it is given."""


def write_page(
    runs: Sequence[Source], out: Path, title: str | None = None, gallery: int = IMAGES, embed: bool = False
) -> Path:
    """Write the page of one or more runs.

    The page shows the images in the folders of the runs, and further pictures in a folder beside it: ``page_files`` for
    ``page.html``.

    Args:
        runs: runs, or folders that ``underfire attack`` wrote.
        out: the HTML file. Its folder is made if it does not exist.
        title: the page's title; if None, the attacks, classifiers and interpreters.
        gallery: the largest number of images in the gallery, for all attacks together, at least 0. They are spread
            evenly over the map distances.
        embed: put all pictures into the HTML file, so that it can be sent alone. It is much larger then.

    Returns:
        ``out``.

    Raises:
        InputError: ``runs`` is empty, or ``gallery`` is negative.
        StoreError: a folder holds no finished run, or ``out`` cannot be written.
    """
    if gallery < 0:
        raise InputError(f"gallery is {gallery}; expected 0 images or more.")
    accounts, pictures = open_accounts(runs), PictureFolder(out, embed)
    correct_together(accounts)  # before the first sentence, so that all of the page says the same
    said = plain(title) if title is not None else _title(accounts)
    sections = sections_of(accounts, said, gallery, pictures)
    written = write_document(out, said, sections, pictures.digests)
    pictures.clean_up()
    return written


def sections_of(accounts: Sequence[Account], title: str, count: int, pictures: PictureFolder) -> list[Section]:
    """Make the sections of a page of attacks.

    Args:
        accounts: the attacks with their controls.
        title: the page's heading.
        count: the largest number of images in the gallery.
        pictures: takes the pictures of the gallery.
    """
    labels = labels_of(accounts)
    readers = list(dict.fromkeys(name for account in accounts for name in account.part.interpreters))
    boxes = filters(account.about(name) for account in accounts for name in account.part.interpreters)
    classes, outliers = class_table(accounts), outlier_table(accounts)
    detectors = detector_table(accounts)
    charts: list[Block] = [trade_off_chart(accounts)]
    charts += [curves.threshold_chart(_reading(accounts, name), name) for name in readers]
    charts += curves.step_charts(accounts)
    return [
        Section("findings", "", [summary(title, accounts), Remarks(_remarks(accounts, labels))]),
        Section("filter", "", [boxes] if boxes else []),
        Section("numbers", "Numbers", [numbers_table(accounts)], _NUMBERS, "Numbers"),
        Section("detectors", "Detectors", [detectors] if detectors else [], DETECTORS, "Detectors"),
        Section("curves", "Charts", charts, link="Charts"),
        Section("classes", "By class", [classes] if classes else [], _CLASSES, "Classes"),
        Section("outliers", "Outliers", [outliers] if outliers else [], _OUTLIERS, "Outliers"),
        Section("gallery", "Images", [gallery(accounts, labels, count, pictures)] if count else [], link="Images"),
        Section("configuration", "Configuration", _records(accounts), link="Configuration"),
    ]


_NUMBERS = (
    "Means over the attacked images, with a 95 % interval below each; n is the number of images. The benign map is the "
    "map of the clean image for its own class. ↑ means that higher is better for the attack, ↓ that lower is. Click "
    "on a heading to sort; point at it to read what it means. Holm p is the probability of a difference in joint "
    "success at least this large if attack and control were alike, corrected for all comparisons on this page: if only "
    "differences with a Holm p below 0.05 are called real, the chance of even one mistake is below 5 %."
)
_CLASSES = (
    "Means over the attacked images of each class, with a 95 % interval below each. Joint success uses the limits "
    "of all images."
)


_OUTLIERS = (
    "Which maps are kept badly? The columns are rank correlations (Spearman) of each value with the map distance under "
    "the attack, with 95 % intervals: +1 means that images with a larger value always end farther away. An interval "
    "that holds 0 shows no clear connection. A small margin means that the clean image lies near a decision boundary."
)


def _title(accounts: Sequence[Account]) -> str:
    if len(accounts) == 1:
        return accounts[0].part.title
    attacks = list(dict.fromkeys(account.part.attack for account in accounts))
    classifiers = list(dict.fromkeys(account.part.classifier for account in accounts))
    more = f" and {len(classifiers) - 3} more" if len(classifiers) > 3 else ""
    return f"{', '.join(map(plain, attacks))} on {', '.join(classifiers[:3])}{more}"


def _reading(accounts: Sequence[Account], interpreter: str) -> list[Account]:
    return [account for account in accounts if interpreter in account.part.interpreters]


def _remarks(accounts: Sequence[Account], labels: Sequence[str]) -> list[tuple[str, str, list[trust.Remark]]]:
    """List headings with paragraphs and remarks. If a run has several attacks, those on the whole run come first."""
    if len(accounts) == 1:
        return [("", words.paragraph(accounts[0]), trust.trust(accounts))]
    found = []
    for account, label in zip(accounts, labels, strict=True):
        several = len(account.run.comparisons) > 1
        if several and account.part is account.run.comparisons[0]:
            found.append((f"All attacks of {plain(account.run.name)}", "", trust.on_run(account)))
        remarks = trust.on_comparison(account) if several else trust.trust([account])
        found.append((label, words.paragraph(account), remarks))
    return found


def _records(accounts: Sequence[Account]) -> list[Record]:
    """List the name of each run's folder with the lines of its record."""
    runs = {id(account.run): account.run for account in accounts}
    return [Record(plain(run.name), _record(run.record)) for run in runs.values()]


def _record(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List the content of ``run.json``: a name, with dots for nested ones, and a value."""
    lines: list[tuple[str, str]] = []
    for key, value in record.items():
        if isinstance(value, dict):
            lines += [(f"{plain(key)}.{inner}", text) for inner, text in _record(value)]
        elif key == "torch_build":
            lines.append((key, plain("; ".join(str(line).strip() for line in value))))
        else:
            lines.append((plain(key), plain(value if isinstance(value, str) else json.dumps(value))))
    return lines
