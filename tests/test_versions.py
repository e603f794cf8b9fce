"""The versions that the project says it works with are those that its tests run with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS = PROJECT["project"]["optional-dependencies"]
TOOLS = {"dev", "docs"}
"""Extras whose packages are tools for this repository, in the versions of constraints.txt; they have no bounds."""

DECLARED = [
    Requirement(text)
    for texts in (
        PROJECT["build-system"]["requires"],
        PROJECT["project"]["dependencies"],
        *(texts for name, texts in EXTRAS.items() if name not in TOOLS),
    )
    for text in texts
]


def versions(constraints: str) -> dict[str, Version]:
    found = re.findall(r"^([\w.-]+)==(\S+)$", constraints, re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in found}


@pytest.mark.parametrize("requirement", DECLARED, ids=str)
def test_the_lowest_version_is_one_that_tests_run_with(requirement: Requirement) -> None:
    """And is below the version that other tests run with."""
    [bound] = requirement.specifier
    assert bound.operator == ">="
    name = canonicalize_name(requirement.name)
    lowest, usual = (versions((ROOT / f"constraints{part}.txt").read_text()) for part in ("-lowest", ""))
    assert lowest[name] == Version(bound.version) <= usual[name]


def test_tools_have_no_bounds() -> None:
    """Nothing runs them in other versions than those of constraints.txt."""
    for extra in TOOLS:
        assert not any(Requirement(text).specifier for text in EXTRAS[extra])


def test_packages_without_bounds_are_in_one_version() -> None:
    """Optional packages that pyproject.toml does not declare, and libraries that tests compare underfire with."""
    parts = (ROOT / "constraints-lowest.txt").read_text().split("\n\n")
    [undeclared] = [part for part in parts if part.startswith("# Used if they are installed")]
    assert len(versions(undeclared)) >= 5
    assert versions(undeclared).items() <= versions((ROOT / "constraints.txt").read_text()).items()


def test_the_fast_part_has_a_file_of_each_room() -> None:
    """``make test-lowest`` runs part of the suite."""
    listed = re.search(r"^LOWEST_TESTS := (.*?[^\\])$", (ROOT / "Makefile").read_text(), re.DOTALL | re.MULTILINE)
    assert listed
    files = [ROOT / name for name in listed[1].replace("\\", "").split()]
    assert [file for file in files if not file.exists()] == []
    rooms = {file.parent for file in (ROOT / "tests").rglob("test_*.py")}
    assert {folder for file in files for folder in (file, *file.parents)} >= rooms


def test_the_readme_names_the_lowest_versions() -> None:
    python = PROJECT["project"]["requires-python"].removeprefix(">=")
    [torch] = [bound.version for each in DECLARED if each.name == "torch" for bound in each.specifier]
    assert f"Python {python}, torch {torch} or newer" in (ROOT / "README.md").read_text()
