"""Parts of a campaign in other processes: what they check before they begin, and the warnings that they raise."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from tests.runs.runs import write_digits
from underfire.campaigns.engines import Processes
from underfire.campaigns.folder import Campaign
from underfire.campaigns.grid import Grid
from underfire.campaigns.running import run_campaign
from underfire.campaigns.units import Hands, Unit
from underfire.errors import UnderfireWarning
from underfire.runs import RunConfig
from underfire.runs.execution import Execution
from underfire.runs.running import RunInHand

SMALL = Execution(batch_size=2)
OWN = """
import underfire as uf


def build():
    return uf.classifiers.load("digits-resnet")
"""


def test_a_part_is_not_done_with_changed_data(tmp_path: Path) -> None:
    table = write_digits(tmp_path / "digits", range(6))
    settings = {"data": str(table), "classifier": "digits-resnet", "count": 4, "steps": [1, 1], "eps": "0.2"}
    grid = Grid.model_validate({"settings": settings, "grid": {"attack": ["adv2", "advedge"]}})
    place = run_campaign(grid, tmp_path / "grid", execution=SMALL, begin_only=True).path
    picture = tmp_path / "digits" / "pictures" / "000.png"
    before = picture.read_bytes()
    with Image.open(picture) as image:
        image.putpixel((0, 0), 99)
        image.save(picture)
    heard: list[str] = []

    class Listening:
        def __getattr__(self, name: str) -> object:
            return lambda *given: heard.append(given[1].said) if name == "failed" else None

    run_campaign(grid, place, execution=SMALL, part=(1, 1), listener=Listening())
    assert len(heard) == 2
    assert all("the images or labels of the data were changed" in text for text in heard)
    assert not list(place.rglob("*.parquet"))
    picture.write_bytes(before)
    run_campaign(grid, place, execution=SMALL, part=(1, 1))
    assert [Campaign(place).progress(entry.name) for entry in Campaign(place)] == [(8, 8), (8, 8)]


WARNING = """
import warnings
import underfire as uf
from underfire.errors import UnderfireWarning
from underfire.interpreters import CAM


class Mine(CAM):
    name = "mine"

    def read(self, classifier, images, classes, ids):
        warnings.warn("these maps are not to be trusted", UnderfireWarning)
        return super().read(classifier, images, classes, ids)
"""


def test_a_warning_in_a_worker_is_raised_in_the_first_process(tmp_path: Path) -> None:
    own = tmp_path / "mine.py"
    own.write_text(WARNING)
    settings = {"data": "digits:test", "classifier": "digits-resnet", "count": 2, "steps": [1, 1], "eps": "0.2"}
    grid = Grid.model_validate({"settings": settings, "grid": {"interpreters": [f"{own}:Mine"]}})
    run_campaign(grid, tmp_path / "grid", execution=SMALL, begin_only=True)
    with pytest.warns(UnderfireWarning, match="these maps are not to be trusted"):
        run_campaign(grid, tmp_path / "grid", execution=SMALL, part=(1, 1), engine=Processes(1, threads=1))
    assert Campaign(tmp_path / "grid").progress("run") == (4, 4)


def test_an_unknown_argument_is_refused(tmp_path: Path) -> None:
    grid = Grid.model_validate(
        {"settings": {"data": "digits:test", "classifier": "digits-resnet"}, "grid": {"seed": [1]}}
    )
    with pytest.raises(TypeError, match="unknown argument 'workers'; expected engine, "):
        run_campaign(grid, tmp_path / "grid", workers=2)  # type: ignore[call-arg]
    assert not (tmp_path / "grid" / "runs").exists()


def test_a_worker_does_nothing_with_other_weights_or_code(tmp_path: Path) -> None:
    """As a machine whose file of the user's is of another day."""
    own = tmp_path / "mine.py"
    own.write_text(OWN)
    config = RunConfig.create(data="digits:test", classifier=f"{own}:build", eps=0.2, count=2, steps=(1, 1))
    hand = RunInHand(config, tmp_path / "run", SMALL)
    with hand.working():
        hand.begin()
    unit = Unit(0, "run", 0, config.to_dict(), str(tmp_path / "run"), SMALL)
    assert Hands().do(unit) is None
    own.write_text(OWN + "# changed")
    failure = Hands().do(unit)
    assert failure is not None
    assert "mine.py" in failure.said
    assert "unexpected" not in failure.said
