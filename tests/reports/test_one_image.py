"""A run of one image is described in the singular."""

from __future__ import annotations

import re
from pathlib import Path

from rich.console import Console

from tests.reports.fakes import Fake
from underfire.reports.page import write_page
from underfire.reports.summary import summary
from underfire.reports.table import summary_table
from underfire.reports.trust import trust
from underfire.reports.words import paragraph

PLURAL = r"(?<![\d.,/])\b1 (attacked )?images"


def test_one_image_is_no_images(tmp_path: Path) -> None:
    """Regression: "1 images were attacked", "of 1 images"."""
    account = Fake(count=1).account(tmp_path / "run")
    console = Console(width=300)
    with console.capture() as shown:
        console.print(summary_table(account.run))
    remarks = " ".join(remark.text for remark in trust([account]))
    write_page([account.run], tmp_path / "page.html")
    for said in (shown.get(), remarks, paragraph(account), (tmp_path / "page.html").read_text()):
        assert not re.search(PLURAL, said), re.search(f".{{40}}{PLURAL}.{{40}}", said)
    assert "Only 1 image was attacked" in remarks
    assert summary("t", [account]).n == "1 image"
