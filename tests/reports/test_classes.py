"""Results by true class: in Python, in the terminal and on the page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.reports.fakes import Fake
from tests.reports.parsed import Parsed, page
from tests.runs.runs import Command, Written, make_command
from underfire import Run, metrics
from underfire.reports.classes import MOST_CLASSES


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return make_command(monkeypatch, capsys)


@dataclass
class ManyClasses(Fake):
    """Every image has a class of its own, or shares it with another one."""

    sharing: int = 1

    def _row(self, i: int, *others: Any) -> dict[str, Any]:
        return {**super()._row(i, *others), "label": i // self.sharing}

    def logits(self, i: int) -> torch.Tensor:
        return torch.eye(200)[i // self.sharing] * (1 + i / 10)


def classes_section(text: str) -> str:
    return text.split('id="classes"')[1].split("</section>")[0]


def test_every_number_is_that_of_the_rows(tmp_path: Path) -> None:
    folder = Fake(count=11, interpreters=("cam", "grad"), rest=3).write(tmp_path / "run")
    written = Written(folder)
    found = Run(folder).by_class()
    assert [(e["interpreter"], e["class_name"], e["n"]) for e in found] == [
        (name, *of) for name in ("cam", "grad") for of in (("ant", 4), ("bee", 4), ("cat", 3))
    ]
    for entry in found:
        rows = [r for r in written.of_cell("adv2", entry["interpreter"]) if r["label"] == entry["label"]]
        assert entry["n"] == len(rows)
        for name in ("success", "joint_success", "joint_success_all"):
            assert entry[name] == metrics.rate([r[name] for r in rows]).to_dict()
        distances = np.array([r["map_l1"] for r in rows])
        assert entry["map_l1"] == metrics.bootstrap_mean(distances, bounds=metrics.UNIT).to_dict()
    for name in ("success", "joint_success"):
        of_all = Run(folder).summary()["interpreters"]["cam"]["attacks"]["adv2"][name]["mean"]
        by_class = [entry for entry in found if entry["interpreter"] == "cam"]
        assert sum(e[name]["mean"] * e["n"] for e in by_class) / 11 == pytest.approx(of_all)


def test_each_attack_of_a_run_has_its_own(tmp_path: Path) -> None:
    found = Run(Fake(interpreters=("cam", "grad"), each=True).write(tmp_path / "run")).by_class()
    assert list(dict.fromkeys((e["cell"], e["interpreter"]) for e in found)) == [
        ("adv2-cam", "cam"),
        ("adv2-grad", "grad"),
    ]


def test_the_terminal_prints_them_when_asked(command: Command, tmp_path: Path) -> None:
    folder = Fake(interpreters=("cam", "grad"), keeps=False).write(tmp_path / "run")
    assert "By class" not in command("report", folder).out
    ended = command("report", folder, "--by-class")
    assert ended.code == 0, ended.err
    after = ended.out.split("By class")
    assert len(after) == 3
    first = [line.split() for line in after[1].splitlines()]
    assert [line[:2] for line in first if line and line[0] in ("ant", "bee", "cat")] == [
        ["ant", "3"],
        ["bee", "3"],
        ["cat", "2"],
    ]
    assert "joint, all" in after[1]
    assert "map to target" in " ".join(after[1].split())
    assert max(map(len, ended.out.splitlines())) <= 80


def test_the_page_shows_them(tmp_path: Path) -> None:
    folder = Fake(interpreters=("cam", "grad"), class_names=("ant", "<b>bee", "cat")).write(tmp_path / "run")
    text, parsed = page(tmp_path, folder)
    assert {"href": "#classes"} in parsed.all("a")
    section = classes_section(text)
    assert re.findall(r'<th scope="row"><bdi>(.*?)</bdi>', section) == ["ant", "&lt;b&gt;bee", "cat"] * 2
    cells = re.findall(r'<td data-value="[^"]*">(.*?)</td>', section)
    entry = Run(folder).by_class()[0]
    assert cells[0].startswith(f"{entry['joint_success']['mean']:.3f}<")
    assert cells[4] == "3"


@pytest.mark.parametrize(
    ("fake", "shown"),
    [
        (ManyClasses(count=8, class_names=None), False),
        (ManyClasses(count=8, class_names=None, sharing=4), True),
        (ManyClasses(count=2 * MOST_CLASSES, class_names=None, sharing=2), True),
        (ManyClasses(count=2 * MOST_CLASSES + 2, class_names=None, sharing=2), False),
    ],
)
def test_the_page_has_no_section_without_repeats_or_with_many_classes(
    fake: ManyClasses, shown: bool, tmp_path: Path
) -> None:
    text, parsed = page(tmp_path, fake.write(tmp_path / "run"))
    assert ('id="classes"' in text) == shown
    assert ({"href": "#classes"} in parsed.all("a")) == shown
    assert isinstance(parsed, Parsed)
