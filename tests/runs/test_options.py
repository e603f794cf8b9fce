"""What the command line is told reaches the run's configuration, and what that says reaches the attack."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import grid
from tests.runs.runs import Command, options
from underfire import attacks, runs
from underfire.attacks import preset
from underfire.errors import InputError
from underfire.runs import RunConfig
from underfire.settings import settings_of

WORDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"data": "digits:train", "count": 7, "seed": 3}, {"data": "digits:train", "count": 7, "seed": 3}),
    (
        {"interpreter": ["cam", "grad"], "read_with": ["lrp", "gradcam"]},
        {"interpreters": ("cam", "grad"), "readers": ("lrp", "gradcam")},
    ),
    (
        {"attack": "advedge+", "edge_threshold": 0.3, "edge_scope": "warmup", "target_map": "patch"},
        {"attack": "advedge+", "edge_threshold": 0.3, "edge_scope": "warmup", "target_map": "patch"},
    ),
    (
        {"perturbation": "cw", "eps": None, "noise_eps": "8/255", "search": 3, "steps": "5,6", "variant": "published"},
        {"perturbation": "cw", "noise_eps": 8 / 255, "search": 3, "steps": (5, 6), "variant": "published"},
    ),
    (
        {"baseline": "none", "eps": "16/255", "target_class": "least-likely"},
        {"baseline": "none", "eps": 16 / 255, "target_class": "least-likely"},
    ),
    ({"untargeted": True, "precision": "bf16"}, {"targeted": False, "precision": "bf16"}),
    ({"interpreter": "cam,grad", "each": True}, {"interpreters": ("cam", "grad"), "each": True}),
    (
        {"shaping": "edge", "measure": ["a.py:one", "b.py:two"]},
        {"shaping": "edge", "measures": ("a.py:one", "b.py:two")},
    ),
    ({"term": ["penalty=0.5", "presence"]}, {"terms": ("penalty=0.5", "presence")}),
    ({"early_stop": True}, {"early_stop": True}),
    ({"no_early_stop": True}, {"early_stop": False}),
    (
        {"classifier": "timm:resnet10t", "weights": "best.pth", "mean": "0.1", "std": "0.2", "image_size": "48"},
        {"classifier": "timm:resnet10t", "weights": "best.pth", "mean": (0.1,), "std": (0.2,), "image_size": (48, 48)},
    ),
    (
        {"resize": 60, "interpolation": "bicubic", "channels": 3, "classes": "12"},
        {"resize": 60, "interpolation": "bicubic", "channels": 3, "classes": "12"},
    ),
    ({"features": "layer4", "class_map": "map.json"}, {"features": "layer4", "class_map": "map.json"}),
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[RunConfig]:
    """The configurations that ``run_attack`` is called with, which then does nothing."""
    seen: list[RunConfig] = []

    def run_attack(config: RunConfig, *_: Any, **__: Any) -> None:
        seen.append(config)
        raise InputError("far enough")

    monkeypatch.setattr(runs, "run_attack", run_attack)
    return seen


@pytest.mark.parametrize(("words", "expected"), WORDS)
def test_every_option_is_in_the_configuration(
    command: Command, asked: list[RunConfig], tmp_path: Path, words: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert "far enough" in command(*options(**words, out=tmp_path)).said
    (config,) = asked
    assert {name: getattr(config, name) for name in expected} == expected


def test_no_setting_is_without_an_option() -> None:
    assert {name for _, expected in WORDS for name in expected} == set(settings_of(RunConfig))


@pytest.mark.parametrize(
    "settings",
    [
        {"attack": "advedge+", "eps": 0.2, "edge_threshold": 0.3, "edge_scope": "warmup", "target_map": "patch"},
        {"attack": "adv2", "perturbation": "cw", "noise_eps": 0.1, "search": 3, "steps": (5, 6), "early_stop": True},
        {"attack": "advedge", "perturbation": "stadv", "early_stop": False},
        {"attack": "pgd", "targeted": False},
        {"attack": "CW", "search": 3},
    ],
)
def test_the_configuration_is_the_attack(settings: dict[str, Any]) -> None:
    where = {"data": "digits:test", "classifier": "digits-resnet"}
    for variant in ("paper", "published"):
        found = RunConfig.create(**where, **settings, variant=variant).preset([], 10)
        name, others = settings["attack"].lower(), {key: value for key, value in settings.items() if key != "attack"}
        assert found == preset(name, **others, variant=variant)
        written = RunConfig.create(**where, **settings, variant=variant).to_dict()
        assert RunConfig.from_values(written).preset([], 10) == found, "from the file and back"
        assert (written["eps"] is None) is bool({name, settings.get("perturbation")} & {"cw", "stadv"})
    given = RunConfig.create(**where, target_class="3").preset([], 10)
    assert given == preset("adv2", target_class=attacks.GivenClass(3))


def test_the_cells_of_the_grid_can_be_run() -> None:
    """And are all that the table of combinations is to have."""
    found = {name: RunConfig.create(data="some", **settings) for name, settings in grid.cells().items()}
    cells = [one for one in found.values() if one.edge_threshold is None and one.target_map == "benign"]
    joint = {(one.classifier, one.perturbation, one.attack, one.interpreters) for one in cells}
    assert len(joint) == 2 * 3 * 3 * 4
    assert len(found) == 2 * 3 * 3 * 4 + 2 * 2 * 4 + len(grid.THRESHOLDS)
    assert {config.eps for config in found.values()} == {None, 8 / 255}
