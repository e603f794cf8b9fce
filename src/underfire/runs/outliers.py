"""Outliers: which images keep their maps badly, and if scattered maps or near decision boundaries go with it.

[EDGE] section VII sees two causes of outliers: benign maps that are scattered over the whole image, and images near a
decision boundary. Here both are measured for every attacked image, beside the distance that the map ends at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from underfire import metrics
from underfire.attacks.limits import Numbers
from underfire.metrics.scatter import half_mass_area, mass_spread, rank_correlation
from underfire.runs.cell_folder import CellFolder
from underfire.runs.comparison import Comparison
from underfire.runs.folder import open_tensors

CAUSES = {
    "half_mass_area": "the more scattered the benign map is (share of the area that holds half of its mass)",
    "mass_spread": "the more scattered the benign map is (spread of its mass around its centre)",
    "margin_next": "the farther the clean image is from the decision boundary (logits to the next class)",
    "margin_target": "the farther the clean image is from the target class (in logits)",
}
"""The causes that the analysis looks at, as words for the end of a sentence."""

WHISKER = 1.5
"""A distance is an outlier if it exceeds the third quartile by more than so many interquartile ranges, as in box
plots."""


@dataclass(frozen=True)
class ImageOutlier:
    """One attacked image, as one interpreter reads it.

    Args:
        cell: the attack's label in the run.
        interpreter: the interpreter.
        image_id: the image.
        half_mass_area: the share of the image's area that holds half of the benign map's mass, in (0, 0.5].
        mass_spread: the spread of the benign map's mass around its centre, in fractions of the sides.
        margin_next: the logit of the true class minus that of the next class, on the clean image. None if the run
            does not hold logits.
        margin_target: the logit of the true class minus that of the target class; None for untargeted attacks, too.
        distance: the distance (``map_l1_target``) of the map under attack to the wanted one.
        success: the target class is reached.
        kept: the distance is below the limit.
        outlier: the distance is an outlier among those of this attack and interpreter; see ``WHISKER``.
    """

    cell: str
    interpreter: str
    image_id: str
    half_mass_area: float
    mass_spread: float
    margin_next: float | None
    margin_target: float | None
    distance: float
    success: bool
    kept: bool
    outlier: bool


@dataclass(frozen=True)
class Outliers:
    """The outlier analysis of one attack and one interpreter.

    Args:
        cell: the attack's label in the run.
        attack: the attack's name.
        interpreter: the interpreter that reads.
        images: the attacked images, in the data's order.
        correlations: for each cause (see ``CAUSES``), Spearman's rank correlation with the distance, as an interval.
    """

    cell: str
    attack: str
    interpreter: str
    images: list[ImageOutlier]
    correlations: dict[str, metrics.Interval]

    @property
    def sentence(self) -> str:
        """The analysis in plain words."""
        far, count = sum(image.outlier for image in self.images), len(self.images)
        said = [f"{far} of {count} {self.interpreter} maps end as outliers under {self.attack}."]
        clear = [(name, found) for name, found in self.correlations.items() if _is_clear(found)]
        for name, found in clear:
            assert found.mean is not None
            moved = "farther from" if found.mean > 0 else "nearer to"
            low, high = f"{found.low:+.2f}", f"{found.high:+.2f}"
            said.append(
                f"Maps end {moved} the wanted one {CAUSES[name]}: rank correlation {found.mean:+.2f} [{low}, {high}]."
            )
        if not clear:
            said.append(
                "Neither how scattered the benign map is, nor how near a decision boundary the image lies, goes "
                "clearly with the distance."
            )
        return " ".join(said)

    def rows(self) -> list[dict[str, Any]]:
        """Return the images as dictionaries, for tables."""
        return [asdict(image) for image in self.images]


def _is_clear(found: metrics.Interval) -> bool:
    return found.low is not None and found.high is not None and (found.low > 0 or found.high < 0)


def outliers(comparisons: Sequence[Comparison]) -> list[Outliers]:
    """Analyse every attack of a run, for each interpreter that reads it; see ``Outliers``."""
    return [_of(part, name) for part in comparisons for name in part.interpreters]


def _of(part: Comparison, name: str) -> Outliers:
    ids = part.image_ids
    area, spread = _scatter(part, name)
    labels, targets = part.true_classes, _targets(part, name)
    nearest, target = _margins(part, labels, targets)
    distance = part.distances(name)
    success = np.asarray(part.column("attack", name, "success"), dtype=bool)
    kept = distance < part.limits[name].values
    low, high = np.quantile(distance, [0.25, 0.75])
    outlier = distance > high + WHISKER * (high - low)
    values = {"half_mass_area": area, "mass_spread": spread, "margin_next": nearest, "margin_target": target}
    images = [
        ImageOutlier(
            cell=part.cell.label,
            interpreter=name,
            image_id=image_id,
            half_mass_area=float(area[place]),
            mass_spread=float(spread[place]),
            margin_next=None if nearest is None else float(nearest[place]),
            margin_target=None if target is None else float(target[place]),
            distance=float(distance[place]),
            success=bool(success[place]),
            kept=bool(kept[place]),
            outlier=bool(outlier[place]),
        )
        for place, image_id in enumerate(ids)
    ]
    known = {cause: found for cause, found in values.items() if found is not None}
    correlations = {cause: rank_correlation(found, distance) for cause, found in known.items()}
    return Outliers(part.cell.label, part.attack, name, images, correlations)


def _scatter(part: Comparison, name: str) -> tuple[Numbers, Numbers]:
    """Compute both measures of scatter of the benign maps, N each, one map at a time."""
    maps = (torch.from_numpy(np.array(part.map("clean", name, each)))[None] for each in part.image_ids)
    found = [(float(half_mass_area(each)), float(mass_spread(each))) for each in maps]
    area, spread = np.asarray(found, dtype=np.float64).T
    return area, spread


def _targets(part: Comparison, name: str) -> list[int] | None:
    """Return the target class of each image; None for an untargeted attack."""
    table = part.files.rows(["image_id", "target", "interpreter"], part.cell.label).to_pylist()
    found = {row["image_id"]: row["target"] for row in table if row["interpreter"] == name}
    targets = [found[image_id] for image_id in part.image_ids]
    return None if None in targets else targets


def _margins(part: Comparison, labels: Any, targets: list[int] | None) -> tuple[Numbers | None, Numbers | None]:
    """Compute the logit of the true class minus that of the next, and of the target class, on clean images."""
    logits = _clean_logits(part)
    if logits is None:
        return None, None
    rows = np.arange(len(labels))
    own = logits[rows, labels]
    others = logits.copy()
    others[rows, labels] = -np.inf
    return own - others.max(axis=1), None if targets is None else own - logits[rows, targets]


def _clean_logits(part: Comparison) -> Numbers | None:
    """Read the logits of the clean images, N x K; None if an earlier version of underfire wrote the run."""
    files = part.files
    if not isinstance(files, CellFolder):
        return None
    found = dict(_each_logits(files))
    return np.stack([found[image_id] for image_id in part.image_ids])


def _each_logits(files: CellFolder) -> Iterator[tuple[str, Numbers]]:
    for shard in range(files.shards):
        ids = dict.fromkeys(files.shard_rows("clean", shard, ["image_id"])["image_id"].to_pylist())
        values = open_tensors(files.file("clean", shard, "safetensors")).get_tensor("logits")
        yield from zip(ids, np.asarray(values, dtype=np.float64), strict=True)
