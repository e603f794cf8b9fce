"""The code of the user's own parts belongs to a run: keys, ``run.json`` and resuming depend on it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import underfire as uf
from tests.runs.conftest import small_config
from tests.runs.runs import Written, assert_same_run, content
from tests.runs.test_resume import Watched
from underfire import user_files
from underfire.detectors.target import Target
from underfire.errors import InputError, StoreError
from underfire.runs import planning, run_attack
from underfire.runs.execution import Execution
from underfire.runs.identity import code_of, identities
from underfire.runs.store import Store
from underfire.system import System

PARTS = """
import torch
import torch.nn.functional as F
from dataclasses import dataclass
from typing import ClassVar

from underfire.attacks import BIM, ClassRule, MapRule, Measure, Shaping, Term
from underfire.interpreters import CAM

FACTOR = 1.0
MEASURE = Measure("largest", "image", "float", "max", "x", compute=lambda seen: seen.images.amax((1, 2, 3)) * FACTOR)


class Far(Term):
    name = "far"

    def __init__(self):
        self.step = lambda image: FACTOR * image.flatten(1).mean(1)

    def __call__(self, point):
        return self.step(point.image)


class Next(ClassRule):
    name = "next"

    def classes(self, view, benign, seed):
        return (benign.labels + int(FACTOR)) % benign.logits.shape[1]


class Bright(MapRule):
    name = "bright"

    def maps(self, benign, classes, seed):
        return {name: torch.ones_like(maps) * min(FACTOR, 1) for name, maps in benign.maps.items()}


class Half(Shaping):
    name = "half"

    def weights(self, images):
        return images.new_ones(len(images), 1, *images.shape[2:]) * 0.5


@dataclass(frozen=True)
class Mine(BIM):
    name: ClassVar[str] = "mine"


class Again(CAM):
    name = "again"


class Part(CAM):
    name = "part"
"""

USES: dict[str, dict[str, Any]] = {
    "MEASURE": {"measures": ("{}:MEASURE",)},
    "Far": {"terms": ("{}:Far=0.5",)},
    "Next": {"target_class": "{}:Next"},
    "Bright": {"target_map": "{}:Bright"},
    "Half": {"shaping": "{}:Half"},
    "Mine": {"perturbation": "{}:Mine"},
    "Again": {"interpreters": ("{}:Again",)},
    "Part": {"interpreters": ("ensemble:grad+{}:Part",)},
}


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    (tmp_path / "code").mkdir()
    path = tmp_path / "code" / "parts.py"
    path.write_text(PARTS)
    return path


def config_with(parts: Path, use: str) -> Any:
    def filled(value: Any) -> Any:
        return value.format(parts) if isinstance(value, str) else tuple(map(filled, value))

    return small_config(**{name: filled(value) for name, value in USES[use].items()})


def keys(parts: Path, use: str, folder: Path) -> dict[str, str]:
    config = config_with(parts, use)
    plan, _ = planning.prepare(
        config, Store(folder, config.to_dict()), Execution(), planning.Silent(), planning.Opened()
    )
    return {label: cell.key for label, cell in plan.cells.items()}


@pytest.mark.parametrize("use", USES)
def test_an_edited_part_makes_another_run(parts: Path, tmp_path: Path, use: str) -> None:
    """Regression: shards of two versions of a measure ended up in one table."""
    config = config_with(parts, use)
    with pytest.MonkeyPatch.context() as patch:
        Watched(patch, 4, moment="after")
        with pytest.raises(KeyboardInterrupt):
            run_attack(config, tmp_path / "run", batch_size=1)
    before = content(tmp_path / "run")
    parts.write_text(PARTS.replace("FACTOR = 1.0", "FACTOR = 2.0"))
    with pytest.raises(StoreError, match=rf"another run: .*parts\.py:{use}"):
        run_attack(config, tmp_path / "run", resume=True)
    assert content(tmp_path / "run") == before
    parts.write_text(PARTS)
    run_attack(config, tmp_path / "run", resume=True)
    run_attack(config, tmp_path / "whole", batch_size=2)
    assert_same_run(Written(tmp_path / "run"), Written(tmp_path / "whole"))
    parts.write_text(PARTS.replace("FACTOR = 1.0", "FACTOR = 2.0"))
    with pytest.raises(StoreError, match=rf"another run: .*parts\.py:{use}"):
        run_attack(config, tmp_path / "run", resume=True)


@pytest.mark.parametrize("use", USES)
def test_keys_depend_on_the_code_and_not_on_its_folder(parts: Path, tmp_path: Path, use: str) -> None:
    before = keys(parts, use, tmp_path / "a")
    (tmp_path / "elsewhere").mkdir()
    moved = Path(shutil.copy(parts, tmp_path / "elsewhere" / "parts.py"))
    assert keys(moved, use, tmp_path / "b") == before
    parts.write_text(PARTS + "\n# a remark\n")
    after = keys(parts, use, tmp_path / "c")
    assert not set(after.values()) & set(before.values())


def test_a_part_without_a_repr_is_the_same_in_another_process(parts: Path, tmp_path: Path) -> None:
    """Regression: such a run could not be resumed, because its record held the addresses of objects."""
    program = (
        "import sys, json\nfrom pathlib import Path\n"
        "from tests.runs.test_own_code import keys, USES\n"
        "sys.stdout.write(json.dumps([keys(Path(sys.argv[1]), use, Path(sys.argv[2]) / use) for use in USES]))\n"
    )
    found = [
        json.loads(
            subprocess.run(
                [sys.executable, "-c", program, str(parts), str(tmp_path / f"process{number}")],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "PYTHONHASHSEED": str(number)},
            ).stdout
        )
        for number in (1, 2)
    ]
    assert found[0] == found[1]


def test_a_finished_run_of_an_earlier_version_is_read_as_before(parts: Path, tmp_path: Path) -> None:
    config = config_with(parts, "MEASURE")
    summary = run_attack(config, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    del record["code_sha256"]
    (tmp_path / "run" / "run.json").write_text(json.dumps(record))
    parts.write_text(PARTS + "\n# a remark\n")
    assert run_attack(config, tmp_path / "run", resume=True) == summary


def test_a_run_without_files_of_the_user_keeps_its_keys(small: Written) -> None:
    assert "code_sha256" not in small.run
    assert small.keys == {
        "clean": "62cae1ead6973c6c",
        "bim": "f13fbf838bd8670f",
        "adv2": "7c3b9bb315584fcd",
        "noise": "ff10fe1f07f0e32a",
    }, "a key changes only with what its cell depends on: a run that was begun before is not resumed then"


def test_a_resumed_transfer_reads_again_by_an_edited_interpreter_or_not_at_all(
    parts: Path, small: Written, tmp_path: Path
) -> None:
    """Regression: it returned the maps of the interpreter as it was, without a word."""
    uf.transfer(small.folder, None, f"{parts}:Again", tmp_path / "read", resume=True)
    parts.write_text(PARTS + "\n# a remark\n")
    with pytest.raises(StoreError, match=r"another run: interpreters\.again was"):
        uf.transfer(small.folder, None, f"{parts}:Again", tmp_path / "read", resume=True)


MASKER = """
from underfire.interpreters.rts.network import Masker, Shape


class Own(Masker):
    def forward(self, scales, classes, confidence=0.0):
        maps, presence = super().forward(scales, classes, confidence)
        return 1.0 * maps, presence


def build():
    made = Own(Shape(10, 8, (4,), 4))
    for value in made.parameters():
        value.data.fill_(0.5)
    return made
"""


@pytest.mark.parametrize("name", ["rts:{}:build", "ensemble:cam+rts:{}:build"])
def test_a_masker_is_known_by_its_code_too(tmp_path: Path, name: str) -> None:
    """Regression: it was known by its weights alone, so that detectors and saved maps took another one for it."""
    path, classifier = tmp_path / "masker.py", uf.classifiers.load("digits-resnet")
    name = name.format(path)
    path.write_text(MASKER)
    first = System(classifier, [name])
    path.write_text(MASKER.replace("1.0 *", "0.5 *"))
    again = System(classifier, [name])
    assert identities(first) != identities(again)
    with pytest.raises(InputError, match="fitted for another system"):
        Target.of(first, (1, 16, 16)).check(again, "mine")
    path.write_text(MASKER)
    assert identities(System(classifier, [name])) == identities(first)
    assert list(code_of({"interpreters": [name]})) == ["masker.py:build"]


def test_what_a_file_imports_from_its_folder_counts(tmp_path: Path) -> None:
    main = tmp_path / "main.py"
    main.write_text("import helper, json\nfrom package.inner import value\nfrom package import other\n")
    for name in ("helper.py", "package/__init__.py", "package/inner.py", "package/other.py", "beside.py", "deep.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "helper.py").write_text("def late():\n    import deep\n")
    (tmp_path / "package" / "inner.py").write_text("from .other import x\n")
    last = user_files.fingerprint(str(main))
    for name in ("main.py", "helper.py", "package/__init__.py", "package/inner.py", "package/other.py", "deep.py"):
        with (tmp_path / name).open("a") as file:
            file.write("# changed\n")
        now = user_files.fingerprint(str(main))
        assert now != last, name
        last = now
    (tmp_path / "beside.py").write_text("# changed\n")
    assert user_files.fingerprint(str(main)) == last
