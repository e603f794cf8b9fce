"""Pictures of a reproduction: images with their maps, clean and under the attacks, for each classifier."""

from __future__ import annotations

from pathlib import Path

from underfire.campaigns.reproduce.papers import NO_DEFENSE, Item
from underfire.campaigns.reproduce.readings import readings_of
from underfire.campaigns.reproduce.reproducing import Reproduction
from underfire.campaigns.reproduce.selecting import shown
from underfire.reports.figure import write_figure
from underfire.reports.reproduction.tables import called
from underfire.runs import Run
from underfire.text import plain

Picture = tuple[Path, str]
"""The file of a picture, and a caption for it."""

ROWS = 3
"""The number of images in a picture."""


def write_pictures(found: Reproduction, item: Item, folder: Path) -> list[Picture]:
    """Draw the pictures of an item: one for each classifier, perturbation and attack.

    For a transfer, there is one for each attacked interpreter, too, with the maps of those that read; for an item on
    defenses, one for each defense, and one without.

    Args:
        found: the reproduction; without its runs there are no pictures.
        item: a figure of kind ``pictures``, ``transfer-pictures`` or ``outliers``.
        folder: where the PNG files are written.

    Raises:
        StoreError: a run cannot be read, or a file cannot be written.
    """
    if found.campaign is None or item.kind not in ("pictures", "transfer-pictures", "outliers"):
        return []
    groups: dict[tuple[str, ...], dict[str, None]] = {}
    for finding in shown(found.paper, item, found.findings):
        attacked = (finding.interpreter,) if item.kind == "transfer-pictures" else ()
        defended = (finding.defense or NO_DEFENSE,) if item.defense else ()
        key = (finding.classifier, finding.perturbation, finding.beside, *attacked, *defended)
        groups.setdefault(key, {})[finding.run] = None
    made = []
    for names, runs in groups.items():
        sources: list[Run] = [found.campaign.run(name) for name in runs]
        if item.kind == "transfer-pictures":
            sources = [reading for name in runs for reading in readings_of(found.campaign, name)]
        if sources:
            file = f"{item.name}-{'-'.join(name.replace('/', '_').replace(':', '_') for name in names)}.png"
            made.append((write_figure(sources, folder / file, ROWS), _caption(item, *names)))
    return made


def _caption(item: Item, classifier: str, perturbation: str, attack: str, other: str = "") -> str:
    said = f"{item.title}: {called(attack)} by {called(perturbation)} on {plain(classifier)}"
    if item.defense:
        return f"{said}, defense: {plain(other)}"
    return f"{said}, which attacked {called(other)}" if other else said
