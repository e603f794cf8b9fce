"""Cells: what their keys depend on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.runs.conftest import small_config
from tests.runs.runs import write_digits
from underfire.attacks import KINDS
from underfire.interpreters import REGISTRY
from underfire.runs import planning
from underfire.runs.execution import Execution
from underfire.runs.store import Store

Keys = Callable[..., dict[str, str]]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_digits(tmp_path_factory.mktemp("digits"), range(6))


def write_model(folder: Path, change: str = "pass", mean: str = "made.mean") -> str:
    """A classifier file: digits-resnet, changed."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.py").write_text(
        "import torch, underfire as uf\n"
        "def build():\n"
        "    made = uf.classifiers.load('digits-resnet')\n"
        "    with torch.no_grad():\n"
        f"        {change}\n"
        f"    return uf.Classifier(made.module, mean={mean}, std=made.std, image_size=16, channels=1, name='it')\n"
    )
    return f"{folder / 'model.py'}:build"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """The keys of a run's cells by label, before anything is attacked."""

    def find(batch_size: int | None = None, device: str = "auto", **changes: Any) -> dict[str, str]:
        config = small_config(**changes)
        store = Store(tmp_path / f"store{len(list(tmp_path.iterdir()))}", config.to_dict())
        plan, _ = planning.prepare(
            config, store, Execution(batch_size, None, device), planning.Silent(), planning.Opened()
        )
        return {label: cell.key for label, cell in plan.cells.items()}

    return find


def length(attack: str) -> dict[str, Any]:
    """Settings that make an attack short: some have a budget instead of steps."""
    return {"steps": None, "budget": 2} if KINDS[attack].has_budget else {}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    assert before.keys() == after.keys()
    return {label for label in before if before[label] != after[label]}


EVERY = {"clean", "bim", "adv2", "noise"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"count": 3}, EVERY),
        ({"data": "digits:train"}, EVERY),
        ({"seed": 1}, EVERY),
        ({"precision": "bf16"}, EVERY),
        ({"interpreters": ("gradcam",)}, EVERY),
        ({"interpreters": ("cam", "grad")}, EVERY),
        ({"readers": ("grad",)}, EVERY),
        ({"target_class": "least-likely"}, EVERY),
        ({"targeted": False}, EVERY),
        ({"target_map": "patch"}, EVERY),
        ({"steps": (1, 2)}, {"bim", "adv2"}),
        ({"eps": 0.1}, {"bim", "adv2", "noise"}),
        ({"early_stop": True}, {"adv2"}),
        ({"terms": ("prediction=0.5",)}, {"adv2"}),
    ],
)
def test_keys_change_with_what_numbers_depend_on(keys: Keys, changes: dict[str, Any], expected: set[str]) -> None:
    """And no further: a clean image is the same whatever attacks it, a control whatever it stands beside."""
    assert changed(keys(), keys(**changes)) == expected


def test_keys_change_with_the_parameters_of_an_interpreter(keys: Keys) -> None:
    assert changed(keys(interpreters=("lrp",)), keys(interpreters=("lrp:z+",))) == EVERY


def test_keys_change_with_pixels_labels_weights_and_normalisation(keys: Keys, table: Path, tmp_path: Path) -> None:
    model, where = write_model(tmp_path / "models"), {"data": str(table)}
    before = keys(**where, classifier=model)
    write_model(tmp_path / "models", "made.module.head.bias.add_(0.001)")
    assert changed(before, keys(**where, classifier=model)) == EVERY, "weights"
    write_model(tmp_path / "models", mean="(made.mean[0] + 0.001,)")
    assert changed(before, keys(**where, classifier=model)) == EVERY, "normalisation"
    write_model(tmp_path / "models")
    assert keys(**where, classifier=model) == before
    lines = table.read_text().splitlines()
    other = write_digits(tmp_path / "other", [0, 1, 2, 3, 4, 6])  # an image that is not attacked
    assert changed(before, keys(data=str(other), classifier=model)) == EVERY, "data"
    labelled = table.with_name("relabelled.csv")
    labelled.write_text("\n".join([*lines[:-1], lines[-1][:-1] + str((int(lines[-1][-1]) + 1) % 10)]) + "\n")
    assert changed(before, keys(data=str(labelled), classifier=model)) == EVERY, "labels"


def test_keys_change_with_measures(keys: Keys, tmp_path: Path) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        "from underfire.attacks import Measure\n"
        "def largest():\n"
        "    return Measure('largest', 'image', 'float', 'max', 'largest value', compute=of)\n"
        "def of(seen):\n"
        "    return seen.images.amax((1, 2, 3))\n"
    )
    assert changed(keys(), keys(measures=(f"{own}:largest",))) == EVERY


@pytest.mark.parametrize("changes", [{"batch_size": 1}, {"batch_size": 7}, {"device": "cpu"}])
def test_keys_change_with_nothing_else(keys: Keys, changes: dict[str, Any]) -> None:
    """The folder is another one each time."""
    assert keys() == keys(**changes)


def test_a_key_holds_nothing_of_the_process(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """No address of an object, whatever the attack: keys must be the same tomorrow."""
    texts: list[str] = []
    dumps = planning.json.dumps

    def watched(value: Any, **options: Any) -> str:
        texts.append(dumps(value, **options))
        return texts[-1]

    monkeypatch.setattr("underfire.runs.cells.json.dumps", watched)
    for attack in KINDS:
        for target_map in ("benign", "class", "patch"):
            keys(attack=attack, target_map=target_map, **length(attack))
    keys(interpreters=tuple(name for name in REGISTRY if name != "rts"))
    assert len(texts) > 50
    assert not any(" at 0x" in text or "object at" in text for text in texts)
