"""The settings of a run that its results do not depend on."""

from __future__ import annotations

from dataclasses import dataclass

from underfire.memory import parse_bytes
from underfire.settings import setting


def parse_batch_size(text: str) -> str | None:
    """Return None for ``auto``, and any other text as it is."""
    return None if text == "auto" else text


@dataclass(frozen=True, kw_only=True)
class ExecutionSettings:
    """Settings of a run that its results do not depend on. A run may be resumed with others.

    Args:
        out: the output folder.
        batch_size: images at once; as many as suit the device and fit into its memory if None.
        memory: the largest number of bytes that the process shall have on the device; what is free counts if None.
        device: ``auto``, ``cpu``, ``cuda``, or ``cuda:1``.
    """

    out: str = setting("Folder for results, images and maps.", "FOLDER")
    batch_size: int | None = setting(
        "Images at once; does not change results on a CPU; on a GPU it changes their last bits.",
        "N",
        value=None,
        kind=int,
        least=1,
        parse=parse_batch_size,
        default="auto",
        panel="The run",
    )
    memory: int | None = setting(
        "The most memory that this process shall have on the device; limits --batch-size auto.",
        "SIZE",
        value=None,
        kind=int,
        parse=parse_bytes,
        default="what is free",
        panel="The run",
    )
    device: str = setting("Device: auto, cpu, cuda, cuda:1.", "NAME", value="auto", panel="The run")


def parse_detectors(text: str) -> tuple[str, ...]:
    """Return the name of one folder. It may hold commas, and is not split."""
    return (text,)


@dataclass(frozen=True, kw_only=True)
class ScoringSettings:
    """Detectors that score a finished run's images. They change no result, so that a run may be scored by others later.

    Args:
        detectors: folders of fitted detectors.
    """

    detectors: tuple[str, ...] = setting(
        "Score the images of the finished run with a fitted detector: its folder. Can be repeated.",
        "DETECTOR",
        value=(),
        kind=tuple[str, ...],
        flags=("--detector",),
        parse=parse_detectors,
        many=True,
        panel="The run",
    )


@dataclass(frozen=True)
class Execution:
    """How a run is carried out: values that its results do not depend on, apart from a GPU's last bits.

    Args:
        batch_size: images at once; as many as suit the device and fit into its memory if None.
        memory: the largest number of bytes that the process shall have on the device; what is free counts if None.
        device: ``auto``, ``cpu``, ``cuda``, or ``cuda:1``.
    """

    batch_size: int | None = None
    memory: int | None = None
    device: str = "auto"
