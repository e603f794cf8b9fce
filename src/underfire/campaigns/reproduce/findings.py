"""Findings: what one run measured of one attack or control, as one interpreter reads it, image by image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from underfire import metrics
from underfire.campaigns.reproduce.papers import KEYS, PREDICTION_ONLY
from underfire.errors import StoreError
from underfire.metrics import Interval
from underfire.runs import Run, disk
from underfire.runs.comparison import Comparison

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Quantity:
    """Something that findings have a value of for each image.

    Args:
        heading: its name in tables.
        digits: digits after the point.
        better: ``higher`` or ``lower``, from the attacker's side; empty if neither.
        share: True if it is true or false for each image, so that the mean is a share.
        compute: returns N values from a comparison, a role and a reader; NaN for images without a value. None if only
            the interval of the mean is kept, because more than the images' values goes into it, or if ``apart``.
        apart: True if detectors or defenses give the values, so that they do not stand in the run.
        bounds: the least and the largest value that there can be; see ``Measure``.
    """

    heading: str
    digits: int = 3
    better: str = ""
    share: bool = False
    compute: Callable[[Comparison, str, str], Values] | None = None
    apart: bool = False
    bounds: metrics.Bounds = metrics.ANY

    @property
    def by_image(self) -> bool:
        """True if there is a value for each image."""
        return self.compute is not None or self.apart


def _measure(name: str) -> Callable[[Comparison, str, str], Values]:
    return lambda part, role, reader: np.asarray(part.column(role, reader, name), dtype=np.float64)


def _noise(part: Comparison, role: str, reader: str) -> Values:
    return 1 - _measure("ssim")(part, role, reader)


def _confidence(part: Comparison, role: str, reader: str) -> Values:
    success = _measure("success")(part, role, reader)
    return np.where(success == 1, _measure("confidence")(part, role, reader), np.nan)


QUANTITIES: Mapping[str, Quantity] = {
    "success": Quantity("success", 2, "higher", share=True, compute=_measure("success")),
    "confidence": Quantity("confidence of successes", 2, "higher", compute=_confidence, bounds=metrics.UNIT),
    "joint_success": Quantity("joint success", 2, "higher", share=True),
    "map_l1": Quantity("map L1 to benign", 3, "lower", compute=_measure("map_l1"), bounds=metrics.UNIT),
    "map_l1_target": Quantity(
        "map L1 to target map", 3, "lower", compute=_measure("map_l1_target"), bounds=metrics.UNIT
    ),
    "map_iou": Quantity("map IoU with benign", 3, "higher", compute=_measure("map_iou"), bounds=metrics.UNIT),
    "noise": Quantity("1 - SSIM", 3, "lower", compute=_noise, bounds=(0.0, 2.0)),
    "edge_energy": Quantity("energy on edges", 3, compute=_measure("edge_energy"), bounds=metrics.UNIT),
    "seconds": Quantity("s/image", 2, "lower", compute=_measure("seconds"), bounds=metrics.POSITIVE),
    "detected": Quantity("detected", 2, "lower", share=True, apart=True),
    "accuracy": Quantity("accuracy of the detector", 3, "lower", apart=True, bounds=metrics.UNIT),
    "auc": Quantity("AUC of the detector", 3, "lower"),
    "right": Quantity("accuracy", 3, "lower", share=True, apart=True),
    "map_kendall": Quantity("Kendall tau of maps", 3, "lower", apart=True, bounds=metrics.SIGNED),
    "misclassified": Quantity("misclassified", 3, share=True, apart=True),
    "map_l1_misclassified": Quantity("map L1 of misclassified images", 3, apart=True, bounds=metrics.UNIT),
    "half_mass_area": Quantity("scatter of the benign map", 2),
    "margin_next": Quantity("distance to the next class", 2),
}
"""All quantities by name. The last two are rank correlations with the distance that the map ends at."""

CAUSES = ("half_mass_area", "margin_next")
"""The quantities that are rank correlations: see ``runs.outliers``."""


@dataclass(frozen=True)
class Finding:
    """The measurements of one attack or control on one classifier, read by one interpreter.

    Args:
        run: the name of the run.
        classifier: the classifier's name.
        perturbation: the perturbation's name.
        attack: the attack's name, or ``prediction-only``; ``clean`` for the false alarms of a detector.
        beside: the joint attack of the run; a control stands beside it.
        target_map: the name of the target map.
        interpreter: the interpreter that was attacked.
        reader: the interpreter that reads, or the detector that scores the images.
        image_ids: the N attacked images.
        values: N values for each quantity that has them.
        intervals: the mean with its interval for the other quantities.
        defense: the trained defense that is judged, or ``none`` beside it; empty if the finding is not about defenses.
    """

    run: str
    classifier: str
    perturbation: str
    attack: str
    beside: str
    target_map: str
    interpreter: str
    reader: str
    image_ids: tuple[str, ...]
    values: Mapping[str, Values]
    intervals: Mapping[str, Interval]
    defense: str = ""

    @property
    def keys(self) -> dict[str, str]:
        """The values of ``KEYS`` that name it in tables."""
        return {key: getattr(self, key) for key in KEYS}

    @property
    def is_control(self) -> bool:
        """True for the attack on the prediction alone."""
        return self.attack == PREDICTION_ONLY

    def interval(self, quantity: str) -> Interval:
        """Return the mean of a quantity with its 95 % interval; without values if the run has none."""
        if quantity in self.intervals:
            return self.intervals[quantity]
        if quantity not in self.values:
            return Interval(None, None, None, 0)
        values, about = self.values[quantity], QUANTITIES[quantity]
        known = values[~np.isnan(values)]
        return metrics.interval(known.astype(bool) if about.share else known, about.bounds)

    def by_image(self, quantity: str) -> dict[str, float]:
        """Return the known values of a quantity by image."""
        values = self.values.get(quantity, np.full(len(self.image_ids), np.nan))
        return {name: float(value) for name, value in zip(self.image_ids, values, strict=True) if not np.isnan(value)}


def findings_of(run: Run, name: str, attacked: str | None = None) -> Iterator[Finding]:
    """Read the findings of a finished run: its attacks, and the attacks on the prediction alone beside them.

    Args:
        run: the run.
        name: its name.
        attacked: the interpreter that was attacked, if the run is a transfer: other interpreters read its images.
    """
    causes = {} if attacked else {(each.cell, each.interpreter): each.correlations for each in run.outliers()}
    for part in run.comparisons:
        for role in ("attack", "control"):
            if not part.has(role):
                continue
            for reader in part.interpreters:
                found = {
                    each: quantity.compute(part, role, reader)
                    for each, quantity in QUANTITIES.items()
                    if quantity.compute is not None
                }
                intervals = {"joint_success": part.intervals.joint(part.outcome(role, [reader]))}
                if role == "attack":
                    known = causes.get((part.cell.label, reader), {})
                    intervals |= {each: known[each] for each in CAUSES if each in known}
                yield Finding(
                    run=name,
                    classifier=str(run.configuration["classifier"]),
                    perturbation=part.cell.perturbation,
                    attack=part.cell.attack if role == "attack" else PREDICTION_ONLY,
                    beside=part.cell.attack,
                    target_map=str(run.configuration["target_map"]),
                    interpreter=attacked or "+".join(part.attacked),
                    reader=reader,
                    image_ids=tuple(part.image_ids),
                    values=found,
                    intervals=intervals,
                )


PROTOCOL = "protocol"
"""The key of the sentence on how findings were made, in the metadata of their file."""
_TEXTS = ("run", "classifier", "perturbation", "attack", "beside", "target_map", "interpreter", "reader", "defense")


def write_findings(findings: Sequence[Finding], path: Path, protocol: str = "") -> None:
    """Write findings as one Parquet file, a row for each, from which all tables can be made again.

    An earlier file stays until the new one is whole.

    Args:
        findings: the findings.
        path: the file.
        protocol: a sentence on how they were made, which is kept in the file.

    Raises:
        StoreError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    measured = [name for name, quantity in QUANTITIES.items() if quantity.by_image]
    columns: dict[str, list[object]] = {each: [getattr(finding, each) for finding in findings] for each in _TEXTS}
    columns["image_ids"] = [list(finding.image_ids) for finding in findings]
    for each in measured:
        columns[each] = [finding.values.get(each, np.array([])) for finding in findings]
    for each in (name for name in QUANTITIES if name not in measured):
        columns[each] = [
            finding.intervals[each].to_dict() if each in finding.intervals else None for finding in findings
        ]
    interval = pa.struct([("mean", pa.float64()), ("low", pa.float64()), ("high", pa.float64()), ("n", pa.int64())])
    kinds = {name: interval if name in QUANTITIES and name not in measured else None for name in columns}
    arrays = {name: pa.array(values, kinds[name]) for name, values in columns.items()}
    table = pa.table(arrays).replace_schema_metadata({PROTOCOL: protocol})
    try:
        disk.replace(path, lambda part: pq.write_table(table, part, compression="zstd", write_page_checksum=True))
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error


def read_protocol(path: Path) -> str:
    """Return the sentence on how the findings in a file were made; empty if there is none.

    Raises:
        StoreError: the file cannot be read.
    """
    import pyarrow.parquet as pq

    with _reading(path):
        held: dict[bytes, bytes] = pq.read_schema(path).metadata or {}
    return held.get(PROTOCOL.encode(), b"").decode("utf-8")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Context in which a file that is missing or damaged becomes a StoreError."""
    import pyarrow as pa

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise StoreError(
            f"{path} cannot be read: {error}. If it is damaged, delete it, and give the command that made it again, "
            "with --resume."
        ) from error


def read_findings(path: Path) -> list[Finding]:
    """Read findings from their file.

    Raises:
        StoreError: it cannot be read.
    """
    import pyarrow.parquet as pq

    with _reading(path):
        rows = pq.read_table(path, page_checksum_verification=True).to_pylist()
    found = []
    for row in rows:
        values = {
            name: np.asarray(row[name], dtype=np.float64)
            for name, quantity in QUANTITIES.items()
            if quantity.by_image and row.get(name)
        }
        intervals = {name: Interval(**row[name]) for name in QUANTITIES if name not in values and row.get(name)}
        found.append(
            Finding(
                **{each: row.get(each, "") for each in _TEXTS},
                image_ids=tuple(row["image_ids"]),
                values=values,
                intervals=intervals,
            )
        )
    return found
