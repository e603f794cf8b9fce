"""``underfire detect``: fit detectors, score images, and evaluate detectors on finished runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from underfire.cli import options
from underfire.cli.lines import status
from underfire.cli.options import Given, flag, option, takes
from underfire.cli.screen import bars, screen
from underfire.runs.inputs import InputSettings

FIT_EXAMPLES = """[bold]Examples[/bold]

underfire detect fit --detector squeezing:bit-depth:3+median:2 --data train.parquet --classifier cifar10-resnet20
--out detectors/squeezing

underfire detect fit --detector maps --interpreter cam,grad --attacked runs/train --data train.parquet
--classifier cifar10-resnet20 --out detectors/maps"""

SCORE_EXAMPLES = """[bold]Example[/bold]

underfire detect score detectors/squeezing --data photos/ --classifier my_model.py:build --out scores.csv"""

EVALUATE_EXAMPLES = """[bold]Example[/bold]

underfire detect evaluate detectors/squeezing detectors/maps runs/adv2 runs/auto"""

MOST_SHOWN = 10
"""Images that ``score`` prints."""


@takes(InputSettings)
def fit(
    given: Given,
    detector: Annotated[
        str,
        option(
            "NAME",
            "The detector: squeezing, squeezing:SQUEEZER+SQUEEZER, lid, lid:K, maps, maps:product, map-agreement, "
            "map-squeezing, map-stability, class-map, or file.py:name.",
            "--detector",
        ),
    ],
    out: Annotated[Path, option("FOLDER", "Folder for the fitted detector.", "--out")],
    interpreter: Annotated[
        list[str] | None,
        option(
            "NAMES",
            "Interpreters whose maps the detector reads, with commas or by repeating the option; only for detectors "
            "that read maps. [default: cam,grad]",
            "--interpreter",
            show_default=False,
        ),
    ] = None,
    variant: options.Variant = "paper",
    attacked: Annotated[
        list[Path] | None,
        option(
            "DIR",
            "A finished run, whose successful attacked images the detector learns from. Can be repeated; lid and maps "
            "need one.",
            "--attacked",
            show_default=False,
        ),
    ] = None,
    apart_from: Annotated[
        list[Path] | None,
        option(
            "DIR",
            "A finished run on which the detector is to be tested: its images are left out, also of --attacked runs. "
            "Can be repeated.",
            "--apart-from",
            show_default=False,
        ),
    ] = None,
    calibration: Annotated[
        int, option("N", "Correctly classified images that choose the threshold.", "--calibration", min=1)
    ] = 200,
    count: Annotated[
        int,
        option(
            "N",
            "Further correctly classified images that the detector learns from, if it learns.",
            "--count",
            min=0,
        ),
    ] = 200,
    false_positives: Annotated[
        float, option("X", "The share of benign images that may count as attacked.", "--false-positives")
    ] = 0.05,
    device: options.Device = "auto",
    overwrite: Annotated[bool, flag("--overwrite", "Replace an earlier detector in the folder.")] = False,
    as_json: Annotated[bool, flag("--json", "Print the detector's record as JSON.")] = False,
) -> None:
    """Fit a detector of attacked images for one classifier, and choose its threshold.

    The threshold is chosen on images that the detector does not learn from. Test it on yet other images: images that
    it has seen are refused there.
    """
    from underfire.detectors.contract import Detector
    from underfire.detectors.folder import check_folder
    from underfire.detectors.from_data import fit_on_data
    from underfire.detectors.named import made_of
    from underfire.detectors.opening import source_of
    from underfire.errors import InputError
    from underfire.runs.devices import find_device
    from underfire.runs.settings import parse_interpreters
    from underfire.system import System
    from underfire.text import counted

    made: Detector = made_of(detector)[0]
    names = [name for each in interpreter or () for name in parse_interpreters(each)]
    if names and not made.reads_maps:
        raise InputError(f"interpreter is {','.join(names)}, and detector {made.title} reads no maps: leave it out.")
    if made.reads_maps and not names:
        names = ["cam", "grad"]
    check_folder(out, overwrite=overwrite)
    inputs = InputSettings.create(**given).open(find_device(device))
    system = System(inputs.classifier, names, variant) if names else inputs.classifier
    with bars() as progress:
        task = progress.add_task("reading images", total=None)
        found = fit_on_data(
            detector,
            system,
            inputs.data,
            count=count,
            calibration=calibration,
            attacked=attacked or (),
            apart_from=apart_from or (),
            false_positives=false_positives,
            source=source_of(names, variant),
            on_image=lambda done, total: progress.update(task, completed=done, total=total),
        )
    found.save(out)
    if as_json:
        typer.echo(json.dumps(found.record(), indent=2))
        return
    low, high = (f"{100 * rate:.1f}" for rate in found.likely_false_positives)
    from rich.console import Console
    from rich.text import Text

    said = (
        f"{found.name}: an image counts as attacked if its score is above {found.threshold:.4g}, chosen on "
        f"{counted(calibration, 'image')} for {100 * false_positives:g} % false alarms. With so many images, the true "
        f"rate lies between {low} and {high} % in 95 of 100 cases."
    )
    Console().print(Text.assemble(f"{said}\nWritten to ", (str(out), "bold")))


@takes(InputSettings)
def score(
    given: Given,
    folder: Annotated[Path, typer.Argument(metavar="DETECTOR", help="Folder of a fitted detector.")],
    count: Annotated[
        int | None, option("N", "Score the first N images. [default: all]", "--count", min=1, show_default=False)
    ] = None,
    out: Annotated[
        Path | None, option("FILE", "Write all scores to this CSV file.", "--out", show_default=False)
    ] = None,
    device: options.Device = "auto",
    as_json: Annotated[bool, flag("--json", "Print all scores as JSON.")] = False,
) -> None:
    """Score images with a fitted detector, whatever their labels say: higher is more suspicious.

    --data may also be one image file, or a folder of images in no classes.
    """
    from rich.console import Console

    from underfire.detectors.opening import open_detector
    from underfire.reports.scores import check_place, scores_of, scores_table, write_scores
    from underfire.runs.devices import find_device

    if out is not None:
        check_place(out)  # before the scoring, which may take long
    inputs = InputSettings.create(**given).open(find_device(device), unlabelled=True)
    fitted = open_detector(folder, inputs.classifier)
    with status(screen, "scoring"):
        rows = scores_of(fitted, inputs.data, count)
    if out is not None:
        write_scores(rows, out)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
        return
    Console().print(scores_table(fitted, rows, MOST_SHOWN))
    if out is not None:
        typer.echo(f"Written to {out}")


def evaluate(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...",
            help="Folders of fitted detectors and of finished runs: at least one of each, in any order.",
        ),
    ],
    out: Annotated[
        Path | None,
        option(
            "FOLDER",
            "Write detection.csv, scores.csv and detection.json to this folder.",
            "--out",
            show_default=False,
        ),
    ] = None,
    device: options.Device = "auto",
    as_json: Annotated[bool, flag("--json", "Print all results as JSON.")] = False,
) -> None:
    """Test fitted detectors on the saved images of finished runs. Nothing is attacked.

    Prints the area under the ROC curve, the share of successful attacks above the threshold, and triple success: the
    class reached, the maps kept, and not detected. The threshold stays as it was chosen when the detector was fitted.
    """
    from rich.console import Console
    from rich.text import Text

    from underfire.detectors.evaluation import evaluate as test
    from underfire.detectors.folder import RECORD
    from underfire.detectors.opening import classifier_of, open_detector
    from underfire.errors import InputError
    from underfire.reports.detection import detection_tables, write_detection
    from underfire.runs.devices import find_device
    from underfire.runs.run import Run

    given = [folder.expanduser() for folder in folders]
    detectors = [folder for folder in given if (folder / RECORD).exists()]
    runs = [Run(folder) for folder in given if folder not in detectors]
    if not detectors or not runs:
        missing = "fitted detector" if not detectors else "finished run"
        raise InputError(f"DIR... names no {missing}; expected at least one detector and one run.")
    own = [run.path.resolve() for run in runs]
    if out is not None and (out / "run.json").exists() and own != [out.expanduser().resolve()]:
        raise InputError(
            f"out is {str(out)!r}, a run whose page would show these scores as its own; expected another folder, or "
            "that run alone to evaluate."
        )
    classifier = classifier_of(runs[0], find_device(device))
    fitted = [open_detector(folder, classifier) for folder in detectors]
    with status(screen, "scoring") as tell:
        found = test(fitted, runs, on_cell=lambda said: tell(f"scoring {said}"))
    written: list[Path] = [] if out is None else write_detection(found, out)
    if as_json:
        shown: dict[str, Any] = found.to_dict()
        typer.echo(json.dumps(shown, indent=2, allow_nan=False))
        return
    console = Console()
    console.print(detection_tables(found.rows()))
    if written:
        names = ", ".join(path.name for path in written)
        console.print(Text.assemble("Written to ", (str(out), "bold"), f": {names}"))
