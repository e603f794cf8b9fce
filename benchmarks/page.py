"""Measure the page of a run of many images: megabytes, seconds to build, seconds to open, and console errors.

    python -m benchmarks.page [--count 1000] [--interpreters cam,grad] [--out runs/page]

Drawn scenes are attacked in one warm-up and one joint step, which is enough for rows, images and maps. Prints one line;
the seconds to open need playwright and Chromium.
"""

from __future__ import annotations

import argparse
import shutil
import time
from pathlib import Path

from underfire.reports.page import write_page
from underfire.runs import RunConfig, run_attack


def size(*paths: Path) -> float:
    """Return the size of files and folders in MB."""
    files = [file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def opened(page: Path) -> tuple[float, list[str]]:
    """Return the seconds until the first tiles of the gallery are there, and all messages of the console."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        window, said = browser.new_page(viewport={"width": 1280, "height": 800}), list[str]()
        window.on("console", lambda message: said.append(message.text))
        window.on("pageerror", lambda error: said.append(str(error)))
        begin = time.perf_counter()
        window.goto(page.resolve().as_uri())
        window.wait_for_selector(".open", state="attached")
        seconds = time.perf_counter() - begin
        window.evaluate("document.getElementById('gallery').scrollIntoView()")
        window.wait_for_timeout(1000)
        browser.close()
    return seconds, said


def main() -> None:
    """Make the run if it is not there, write its page, and print the measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--interpreters", default="cam,grad")
    parser.add_argument("--out", type=Path, default=Path("runs/page"))
    chosen = parser.parse_args()
    if not (chosen.out / "summary.json").exists():
        config = RunConfig.create(
            data="scenes:test",
            classifier="scenes-resnet",
            interpreters=tuple(chosen.interpreters.split(",")),
            steps=(1, 1),
            count=chosen.count,
        )
        run_attack(config, chosen.out)
    begin = time.perf_counter()
    page = write_page([chosen.out], chosen.out / "page.html")
    built = time.perf_counter() - begin
    html, beside = size(page), size(chosen.out / "page_files")
    line = f"{chosen.count} images: {html + beside:.1f} MB ({html:.1f} page.html), built in {built:.1f} s"
    try:
        seconds, said = opened(page)
        line += f", opened in {seconds:.2f} s, {len(said)} console messages"
    except ImportError:
        line += ", not opened: playwright is not installed"
    print(line)


if __name__ == "__main__":
    main()
