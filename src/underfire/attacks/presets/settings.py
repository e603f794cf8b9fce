"""The settings of a named attack, declared once for Python, the command line and configuration files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor

from underfire.attacks.evading import parse_evade
from underfire.attacks.perturbations import Perturbation, parse_eps
from underfire.attacks.schedule import Weighted
from underfire.attacks.shaping import Shaping
from underfire.attacks.target_maps import MapRule
from underfire.attacks.targets import ClassRule
from underfire.attacks.terms import Evading
from underfire.attacks.variants import EdgeScope, Variant
from underfire.errors import InputError
from underfire.settings import setting

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_STEPS = 1_000_000
"""The largest number of steps of an attack. More are a slip of the keyboard: that run would never end."""


def parse_steps(text: str) -> tuple[int, int]:
    """Parse ``WARMUP,JOINT``, such as ``40,160``."""
    try:
        warmup, joint = (int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"steps is {text!r}; expected WARMUP,JOINT, such as 40,160.") from error
    return warmup, joint


def parse_noise_eps(text: str) -> float:
    """Parse ``noise_eps``, a number or a fraction."""
    return parse_eps(text, "noise_eps")


def two_counts(steps: Any) -> bool:
    """Return True if ``steps`` are numbers of warm-up and joint steps: at least one step, and not too many."""
    two = isinstance(steps, tuple | list) and len(steps) == 2 and all(isinstance(count, Integral) for count in steps)
    return two and min(steps) >= 0 and 0 < sum(steps) <= MOST_STEPS


@dataclass(frozen=True)
class AttackSettings:
    """The settings of a named attack. Names, texts and objects are all accepted; ``Preset`` turns them into objects.

    Args:
        attack: ``adv2``, ``advedge``, ``advedge+``, ``auto``, ``adaptive``, ``adaptive-auto``, ``square`` (joint), or a
            perturbation's name (prediction only): ``pgd``, ``bim``, ``cw``, ``stadv``, or ``file.py:name``.
        eps: the radius in L-inf in pixel units, such as ``8 / 255`` or ``"8/255"``, of perturbations that have a ball;
            the published 0.031 if None.
        steps: warm-up and joint steps instead of the published ones; weights are stretched over them.
        budget: the steps of ``auto`` and ``adaptive-auto``, each of which takes one gradient, 200 if None; the queries
            of ``square``, 1000 if None.
        variant: ``paper``, ``published``, or a ``Variant``. An interpreter's published settings (Grad's normalised
            pixels) are the interpreter's own: ``interpreters.create("grad", "published")``.
        targeted: reach a class (True), or only leave the image's own.
        target_class: the class to reach: a rule, its name (``random``, ``least-likely``, ``grid``), a class number, one
            number per image, or ``file.py:name``. If None: ``grid`` for ``adaptive`` and ``adaptive-auto``, else
            ``random``.
        target_map: the map to show: a rule, its name (``benign``, ``patch``, ``class``), ``file.py:name``, the file of
            a map, or a tensor or array h x w (one map for all images) or N x h x w (one per image) in [0, 1].
        perturbation: of a joint attack: a name, ``file.py:name``, or an object such as
            ``StAdv(neighbours="diagonal")``; ``pgd`` if None.
        shaping: ``uniform``, ``edge`` or ``edge-mask``, or an object. If None: ``edge`` for advedge, ``edge-mask`` for
            advedge+, else ``uniform``.
        edge_threshold: the Sobel magnitude, in [0, 0.79), above which ``advedge+`` may change a pixel.
        edge_scope: edges act in ``all`` stages or in the ``warmup`` alone; the variant decides if None.
        noise_eps: the size of the noise control of perturbations without a ball, in pixel units; 0.031, the default of
            ``eps``, if None.
        search: the number of rounds of a search for the weight of the objective against the perturbation's cost, for
            each image (the constant c of Carlini & Wagner 2017); 0 for none.
        early_stop: stop the attack on an image once it has succeeded and its map gets no nearer to its target. If None,
            this is done for PGD and BIM on Grad and its family, and never under ``published``.
            On CAM it saves a fifth of the steps, and map distances grow by 3 %.
        terms: more loss terms: names with weights, or ``Weighted`` objects. They act in the joint stage of a joint
            attack, and in all stages of a prediction-only one.
        evade: detectors that the attack shall evade: squeezers with thresholds such as ``"bit-depth:3<0.21"``, the
            folder of a fitted detector, or terms; see ``evading_terms``. They act where ``terms`` do, and of the
            images that reach the goal those are kept that no detector would notice. If empty, ``adaptive`` and
            ``adaptive-auto`` take the published squeezers without thresholds.
    """

    attack: str = setting(
        "adv2, advedge, advedge+, auto, adaptive, adaptive-auto and square are joint; pgd, bim, cw and stadv only "
        "change the class.",
        "NAME",
        value="adv2",
    )
    eps: float | str | None = setting(
        "L-inf radius of pgd and bim, such as 8/255; also of adv2, advedge and advedge+, which use pgd by default.",
        "EPS",
        value=None,
        kind=float,
        parse=parse_eps,
        default="0.031",
    )
    steps: tuple[int, int] | None = setting(
        "Steps of the warm-up and of the joint stage, such as 40,160.",
        "W,J",
        value=None,
        kind=tuple[int, int],
        parse=parse_steps,
        default="the published ones, such as 400,1200; see 'underfire list presets'",
    )
    budget: int | None = setting(
        "auto, adaptive-auto: the number of steps, such as 100, 1000 or 10000. Each takes one gradient. square: the "
        "number of images that it tries for each image.",
        "N",
        value=None,
        kind=int,
        least=1,
        default="200; for square, 1000",
    )
    variant: str | Variant = setting(
        "paper: settings from the papers' text; published: settings of the authors' code.",
        "NAME",
        value="paper",
        former=("--preset",),
    )
    targeted: bool = setting(
        "Accept any wrong class instead of one target class.",
        value=True,
        kind=bool,
        flags=("--targeted", "--untargeted"),
    )
    target_class: ClassRule | int | str | Sequence[int] | Tensor | None = setting(
        "The class to reach: random, least-likely, grid (see adaptive), a class (number or name), or file.py:name.",
        "CLASS",
        value=None,
        former=("--target",),
        default="random; for adaptive and adaptive-auto, grid",
    )
    early_stop: bool | None = setting(
        "Stop the attack on an image once it has succeeded and its map gets no nearer to its target.",
        value=None,
        kind=bool,
        flags=("--early-stop", "--no-early-stop"),
        default="only for pgd and bim on Grad and its family; never with --variant published",
    )
    perturbation: str | Perturbation | None = setting(
        "Perturbation of a joint attack: pgd, bim, cw, stadv, or file.py:name.", "NAME", value=None, default="pgd"
    )
    target_map: MapRule | str | Path | Tensor | NDArray[Any] | None = setting(
        "The map that interpreters shall show: benign (keep it), patch (random), class (of another image of the target "
        "class), a file with a map, or file.py:name.",
        "MAP",
        value=None,
        default="benign",
    )
    shaping: Shaping | str | None = setting(
        "Where the image may change: uniform, edge or edge-mask.",
        "NAME",
        value=None,
        default="edge for advedge, edge-mask for advedge+, else uniform",
    )
    edge_threshold: float | None = setting(
        "advedge+: the Sobel magnitude above which pixels may change.", "X", value=None, kind=float, default="0.1"
    )
    edge_scope: EdgeScope | None = setting(
        "advedge, advedge+: the stages in which edges weight the change: all, or warmup.",
        "SCOPE",
        value=None,
        kind=Literal["all", "warmup"],
        default="all; with --variant published, warmup",
    )
    noise_eps: float | str | None = setting(
        "cw, stadv: size of the random noise that sets how far a kept map may move.",
        "EPS",
        value=None,
        kind=float,
        parse=parse_noise_eps,
        default="0.031, as for pgd",
    )
    search: int = setting(
        "cw, stadv: rounds of a search, per image, for the best balance of success and small change; 0 for no search.",
        "N",
        value=0,
        kind=int,
        least=0,
        most=1000,
    )
    terms: Sequence[Weighted | str] | Mapping[str, float] = setting(
        "One more loss term: a name or file.py:name, with =WEIGHT unless the weight is 1. Can be repeated.",
        "TERM=W",
        value=(),
        kind=tuple[str, ...],
        flags=("--term",),
        many=True,
    )
    evade: Sequence[Weighted | Evading | str] | Weighted | Evading | str = setting(
        "Evade a detector by feature squeezing: squeezers with the detector's thresholds, in quotes, such as "
        "'bit-depth:3<0.21,median:2<0.4'; or the folder of a fitted detector. Can be repeated.",
        "SQUEEZER<T,...",
        value=(),
        kind=tuple[str, ...],
        parse=parse_evade,
        many=True,
        default="none; for adaptive and adaptive-auto, bit-depth:3, median:2 and median:3 without thresholds",
    )
