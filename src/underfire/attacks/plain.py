"""An attack in one call, for those who have a network, images and labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from underfire.attacks.base import BaseAttack
from underfire.attacks.loaders import Images, check_no_labels
from underfire.attacks.presets import AttackSettings, Preset, preset
from underfire.attacks.result import AttackResult
from underfire.attacks.variants import VARIANTS
from underfire.classifiers import Classifier
from underfire.errors import InputError, unknown_name
from underfire.interpreters import Interpreter
from underfire.settings import settings_of
from underfire.system import System

SETTINGS = (*(name for name in settings_of(AttackSettings) if name != "attack"), "random_start", "neighbours")
CLASSIFIERS = ("image_size", "resizing", "channels", "class_names", "features", "output", "bounds", "channel_order")
OWN = ("images", "labels", "attack", "interpreters", "readers", "mean", "std", "seed")
RUNNING = (
    *("count", "ids", "batch_size", "memory", "precision", "compile"),
    *("progress", "trace_every", "control", "measures", "noise_draws"),
)


def attack(
    model: nn.Module | Classifier | System,
    images: Images,
    labels: Tensor | Sequence[int] | None = None,
    attack: str | Preset | BaseAttack = "adv2",
    interpreters: Interpreter | str | Sequence[Interpreter | str] | Mapping[str, Interpreter] | None = None,
    *,
    readers: Interpreter | str | Sequence[Interpreter | str] = (),
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    seed: int = 0,
    **settings: Any,
) -> AttackResult:
    """Attack ``images``, and judge the outcome beside its controls.

    Args:
        model: a network that maps images to logits, with ``mean`` and ``std`` unless it takes pixels in [0, 1]; or a
            ``Classifier``, or a ``System``.
        images: N x C x H x W in [0, 1]; or a torch ``DataLoader`` or ``Dataset`` of (images, labels), whose images are
            all held in memory; see ``BaseAttack.__call__``.
        labels: int64 N, the images' own classes; None for a loader, which brings them.
        attack: a name (``adv2``, ``advedge``, ``advedge+``, ``auto``, ``adaptive``, ``adaptive-auto``, ``square``,
            ``pgd``, ``bim``, ``cw``, ``stadv``), or an attack made before, such as a ``ForeignAttack``.
        interpreters: the interpreters whose maps should look right; ``cam`` if None.
        readers: interpreters that only read, and are not attacked; see ``System``.
        mean, std: normalisation per channel, if ``model`` is a plain network.
        seed: of all random numbers.
        settings: those of ``AttackSettings`` (``eps``, ``steps``, ``target_class``, ``target_map``, ``perturbation``,
            ...), and options of calling an attack (``count``, ``ids``, ``batch_size``, ``memory``, ``precision``,
            ``compile``, ``progress``, ``trace_every``, ``measures``, ``noise_draws``; ``control=False`` leaves out the
            prediction-only attack beside it, and an attack as ``control`` takes its place).

    Returns:
        The result; ``result.adversarial`` are the images.

    Raises:
        InputError, ClassifierError, InterpreterError: see the messages; nothing has been attacked then.
    """
    check_no_labels(images, labels)  # first, because a name that stands in their place moves the names behind it
    if isinstance(model, System | Classifier) and (mean is not None or std is not None):
        raise InputError(f"mean and std come with a plain network; this {type(model).__name__} has its own.")
    if isinstance(model, System):
        if interpreters is not None or readers:
            raise InputError("interpreters and readers come with a classifier; this System has its own.")
        system = model
    else:
        classifier = model if isinstance(model, Classifier) else Classifier(model, mean=mean, std=std)
        published = settings.get("variant") in ("published", VARIANTS["published"])
        variant = "published" if published else "paper"
        system = System(classifier, "cam" if interpreters is None else interpreters, variant, readers=readers)
    running = {name: settings.pop(name) for name in RUNNING if name in settings}
    if isinstance(attack, type) or not (isinstance(attack, str) or callable(attack)):
        raise InputError(
            f"attack is {attack!r:.80}; expected the name of an attack, such as 'adv2', or an attack: preset('adv2')."
        )
    if not isinstance(attack, str):
        if settings:
            raise InputError(f"{', '.join(settings)}: settings of a named attack; this one has been made already.")
        return attack(system, images, labels, seed=seed, **running)
    for name in settings.keys() - set(SETTINGS):
        if name in CLASSIFIERS:
            raise InputError(f"{name} is the classifier's: give Classifier(network, {name}=...) as model.")
        raise unknown_name("setting", name, (*SETTINGS, *RUNNING, *OWN))
    made = preset(attack, **settings)
    return made(system, images, labels, seed=seed, **running)
