"""What the docs say runs as it stands, and what they link to is there."""

from __future__ import annotations

import base64
import io
import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

import underfire as uf
from tests.showing import Display, interval
from tools.notebook import NOTEBOOK, code_cells, run
from underfire.cli.demo import photographs_installed

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def python_blocks(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


ONE_FILE = ["howto-interpreter", "howto-perturbation", "howto-loss", "howto-target", "howto-measure"]
"""Pages that add something in one file, whose code begins with a comment that names the file."""


@pytest.fixture
def written(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Writes the files of a page, goes to their folder, and gives the other blocks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    rest = []
    for block in python_blocks(ROOT / "docs" / f"{request.param}.md"):
        file = re.match(r"# (\w+\.py)\n", block)
        if file:
            (tmp_path / file[1]).write_text(block)
            monkeypatch.delitem(sys.modules, file[1].removesuffix(".py"), raising=False)
        else:
            rest.append(block)
    assert len(list(tmp_path.iterdir())) == 1
    return rest


@pytest.mark.parametrize("written", ONE_FILE, indirect=True)
def test_how_tos_of_one_file_run(written: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    space: dict[str, Any] = {}
    for block in written:
        exec(compile(block, "page", "exec"), space)
    assert "joint_success" in capsys.readouterr().out
    result = space["result"]
    assert float(result.success.float().mean()) > 0.5
    assert "bim" in result.controls or "l2" in result.controls


@pytest.mark.parametrize("written", ["howto-export"], indirect=True)
def test_the_how_to_of_an_export_format_runs(written: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for block in written:
        exec(compile(block, "page", "exec"), {})
    assert capsys.readouterr().out.startswith("| interpreter | joint success | n |\n|---|---|---|\n| cam | ")


@pytest.mark.parametrize(
    ("page", "written"), [(name, name) for name in (*ONE_FILE, "howto-export")], indirect=["written"]
)
def test_command_lines_of_how_tos_run(
    page: str, written: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from tests.runs.runs import make_command

    text = (ROOT / "docs" / f"{page}.md").read_text().replace("\\\n", "")
    lines = re.findall(r"^underfire .*$", text, re.MULTILINE)
    assert lines
    for line in lines:
        ended = make_command(monkeypatch, capsys)(*shlex.split(line)[1:])
        assert ended.code == 0, ended.err
    assert len(list(Path("runs").glob("*/results.parquet"))) == sum("attack" in line.split() for line in lines)
    assert all(Path(line.split()[-1]).exists() for line in lines if "export" in line.split())


class Unprepared(nn.Module):
    """A network that nobody prepared for: one functional ReLU, used twice and once in place, and a lambda shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 5, stride=4)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.shortcut = lambda features: features[:, :, ::2, ::2]
        self.last = nn.Linear(8, 5)

    def forward(self, images: Tensor) -> Tensor:
        features = F.relu(self.first(images))
        features = F.relu(self.shortcut(features) + self.second(features)[:, :, ::2, ::2], inplace=True)
        return self.last(features.mean((2, 3)))


def test_the_readme_runs() -> None:
    """On a small image."""
    torch.manual_seed(0)
    _, second, third = python_blocks(ROOT / "README.md")
    assert len(second.splitlines()) <= 5
    network, images = Unprepared().eval(), torch.rand(2, 3, 96, 96)
    labels = uf.Classifier(network, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)).logits(images).argmax(1)
    space = {"my_network": network, "images": images, "labels": labels}
    for block in (second, third):
        exec(compile(block.replace("image_size=224", "image_size=96"), "README.md", "exec"), space)
        assert bool((space["result"].linf > 0).all())


def test_the_readmes_first_example_runs() -> None:
    """In fewer steps, on the first photographs alone; with the extra ``photos``."""
    if not photographs_installed():
        pytest.skip("the extra photos is not installed")
    first, *_ = python_blocks(ROOT / "README.md")
    shorter = first.replace("budget=100", "budget=10").replace("data.load(", "data.load(indices=range(2), size=")
    assert shorter.count("=10)") == shorter.count("range(2)") == 1
    space: dict[str, Any] = {}
    exec(compile(shorter, "README.md", "exec"), space)
    result = space["result"]
    assert float(result.success.float().mean()) > 0.9
    assert result.map_l1["cam"].mean() < result.controls["bim"].map_l1["cam"].mean() / 2


def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from underfire.runs import RunConfig, run_attack

    monkeypatch.chdir(tmp_path)
    command = {"data": "scenes:test", "classifier": "scenes-resnet", "interpreters": ("cam",), "eps": "8/255"}
    run_attack(RunConfig.create(**command, steps=(2, 4), count=2), tmp_path / "runs" / "scenes")
    space: dict[str, Any] = {}
    for block in python_blocks(ROOT / "docs" / "tutorial.md"):
        exec(compile(block.replace("range(16)", "range(6)"), "tutorial.md", "exec"), space)
    assert float(space["alone"].success.float().mean()) > 0.9
    both, alone = (space[name].joint_success["cam"].float().mean() for name in ("both", "alone"))
    assert both > alone
    assert "joint_success_mean" in capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
        if not target.startswith(("http:", "https:", "mailto:")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_block_is_python(page: Path) -> None:
    for block in python_blocks(page):
        compile(block, page.name, "exec")


def test_the_notebook_runs() -> None:
    """In fewer steps: from a photograph to a verdict in ten lines, which show a table and pictures."""
    if not photographs_installed():
        pytest.skip("the extra photos is not installed")
    sources = ["".join(cell["source"]) for cell in code_cells(json.loads(NOTEBOOK.read_text(encoding="utf-8")))]
    assert len([line for source in sources for line in source.splitlines() if line]) <= 10
    shorter = sources[0].replace("budget=100", "budget=10")
    assert shorter != sources[0]
    space: dict[str, Any] = {}
    (figure,), (verdict,) = run([shorter, *sources[1:]], space)
    result = space["result"]
    assert bool(result.correct_before.all())
    assert bool(result.success.all())
    assert result.map_l1["cam"].mean() < result.controls["bim"].map_l1["cam"].mean() / 2
    check_outputs(figure, verdict)
    name = result.class_names[int(result.target[0])]
    assert f"tiger cat -&gt; {name}: reached" in "".join(verdict["data"]["text/html"])


def check_outputs(figure: dict[str, Any], verdict: dict[str, Any]) -> None:
    picture = Image.open(io.BytesIO(base64.b64decode(figure["data"]["image/png"])))
    assert picture.width > 4 * 128
    shown = Display("".join(verdict["data"]["text/html"]))
    assert [row[:2] for row in shown.rows[1:]] == [["bim", "cam"], ["noise", "cam"], ["auto", "cam"]]
    assert [name for name, _ in shown.pictures] == ["clean", "adversarial", "map before", "map after"]
    assert "".join(verdict["data"]["text/plain"]).startswith("AttackResult of 1 image, 1 of them")


def test_the_notebooks_outputs_are_those_of_its_cells_and_small() -> None:
    assert NOTEBOOK.stat().st_size < 300_000
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    (figure,), (verdict,) = (cell["outputs"] for cell in code_cells(notebook))
    check_outputs(figure, verdict)
    shown = Display("".join(verdict["data"]["text/html"]))
    success, _, joint = (interval(cell)[0] for cell in shown.rows[3][2:])
    assert (success, joint) == (1.0, 1.0)
    assert interval(shown.rows[1][3])[0] > 2 * interval(shown.rows[3][3])[0]


def test_the_runner_of_the_notebook_shows_what_a_notebook_shows() -> None:
    first, second, third = run(["a = 2\nprint('x')\na", "b = a", "a + b"], {})
    assert [each["output_type"] for each in first] == ["stream", "execute_result"]
    assert (first[0]["text"], first[1]["data"]) == (["x\n"], {"text/plain": ["2"]})
    assert second == []
    assert third[0]["data"] == {"text/plain": ["4"]}
