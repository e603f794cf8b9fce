"""Pages of several runs of one interpreter and one attack each, as campaigns make them: all have names of their own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.reports.browsing import Opened, chromium
from tests.reports.fakes import Fake
from underfire import metrics
from underfire.reports.account import Account, accounts_of, correct_together
from underfire.reports.page import write_page
from underfire.reports.points import trade_off_chart
from underfire.runs import Run

GRID = [(interpreter, attack) for interpreter in ("cam", "grad") for attack in ("adv2", "auto")]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two interpreters by two attacks, each in a run of its own."""
    folder = tmp_path_factory.mktemp("grid")
    return [
        Fake(count=12, interpreters=(interpreter,), attack=attack, trace=True).write(folder / f"{interpreter}-{attack}")
        for interpreter, attack in GRID
    ]


@pytest.fixture
def accounts(runs: list[Path]) -> list[Account]:
    return [account for run in runs for account in accounts_of(Run(run))]


def test_every_chart_has_a_title_of_its_own(runs: list[Path], tmp_path: Path) -> None:
    text = write_page(runs, tmp_path / "page.html").read_text()
    titles = re.findall(r"<h3[^>]*>\s*<bdi>(.*?)</bdi>", text.split('id="curves"')[1].split("<section")[0])
    assert len(titles) > 5
    assert len(set(titles)) == len(titles)
    assert {"Joint success by limit, cam", "Joint success by limit, grad"} <= set(titles)


def test_points_are_told_apart_by_their_attack(accounts: list[Account]) -> None:
    chart = trade_off_chart(accounts)
    assert chart.crowded
    shown = [trace["text"][0] for trace in chart.figure()["data"] if trace.get("mode") == "markers+text"]
    assert shown == ["adv2", "auto", "adv2", "auto"]


def test_the_first_screen_believes_the_p_values_of_the_table(accounts: list[Account]) -> None:
    """Regression: the marks took those of each run alone, which were too small."""
    alone = [account.p_value(name) for account, (name, _) in zip(accounts, GRID, strict=True)]
    found = correct_together(accounts)
    plain = [found[number, name][0] for number, (name, _) in enumerate(GRID)]
    assert alone == plain, "a run of one comparison needs no correction"
    corrected = [account.p_value(name) for account, (name, _) in zip(accounts, GRID, strict=True)]
    assert corrected == pytest.approx(list(metrics.holm(plain)))
    assert all(now > before for now, before in zip(corrected, alone, strict=True) if now is not None and before)


def test_tiles_say_which_attack_made_them(runs: list[Path], tmp_path: Path) -> None:
    address = write_page(runs, tmp_path / "page.html").as_uri()
    with chromium() as browser:
        opened = Opened(browser, address)
        labels = opened.page.eval_on_selector_all(".shelf button", "all => all.map((each) => each.ariaLabel)")
    assert len(labels) == 48
    for interpreter, attack in GRID:
        assert sum(f"; {interpreter}, {attack}, " in label for label in labels) == 12
