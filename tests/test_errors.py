"""How errors are phrased."""

from __future__ import annotations

import linecache
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

import underfire as uf
from underfire.errors import InputError, SeveralInputsError, UnderfireWarning, unknown_name


def test_all_of_few_names_are_shown() -> None:
    assert str(unknown_name("fruit", "appel", ["pear", "apple"])) == (
        "unknown fruit 'appel'. Did you mean 'apple'? Known: apple, pear."
    )


def test_of_names_that_differ_in_case_the_nearest_comes_first() -> None:
    assert "Did you mean 'net'?" in str(unknown_name("name", "nett", ["Net", "net"]))
    assert "Did you mean 'Net'?" in str(unknown_name("name", "Nett", ["Net", "net"]))


def test_only_the_nearest_of_many_names_are_shown() -> None:
    many = [f"resnet{number}" for number in range(100)] + ["vgg16"]
    said = str(unknown_name("network", "resnet7x", many))
    assert said.startswith("unknown network 'resnet7x'. Did you mean 'resnet7")
    assert said.endswith(", ... and 93 more.")
    assert said.count("resnet") == 1 + 1 + 8
    nothing_near = str(unknown_name("network", "qqq", many))
    assert "Did you mean" not in nothing_near
    assert nothing_near.endswith("resnet15, ... and 93 more.")


def test_a_warning_names_the_line_of_the_user() -> None:
    """Regression: warnings named lines of underfire, which tell a user nothing about the call."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    with pytest.warns(UnderfireWarning, match="compiled") as caught:
        uf.Classifier(torch.compile(network))
    (ours,) = (each for each in caught if each.category is UnderfireWarning)
    assert linecache.getline(ours.filename, ours.lineno).strip() == "uf.Classifier(torch.compile(network))"


def test_a_warning_from_a_users_file_names_its_line(tmp_path: Path) -> None:
    """Regression: the line that loaded the file was named, or none."""
    file = tmp_path / "mine.py"
    file.write_text(
        "import torch, underfire as uf\n"
        "def build():\n"
        "    return uf.Classifier(torch.compile(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))))\n"
        "early = build()\n"
    )
    with pytest.warns(UnderfireWarning, match="compiled") as caught:
        uf.classifiers.load(f"{file}:build")
    ours = [each for each in caught if each.category is UnderfireWarning]
    assert [(Path(each.filename).name, each.lineno) for each in ours] == [("mine.py", 3)] * 2


def test_names_that_differ_in_case_alone_stay_apart() -> None:
    many = ["Block", "block", *map(str, range(40))]
    said = str(unknown_name("module", "BLOCKS", many))
    assert "Known: Block, block, ... and 40 more." in said


@pytest.mark.parametrize(
    ("name", "meant"),
    [("lime", "captum:Lime"), ("LIME", "captum:Lime"), ("L-inf", "pgd"), ("C&W", "cw"), ("pgdd", "pgd")],
)
def test_names_that_the_field_uses_lead_to_ours(name: str, meant: str) -> None:
    assert f"Did you mean {meant!r}?" in str(unknown_name("thing", name, ["cw", "pgd", "captum:Lime", "line"]))


def test_what_is_not_known_here_is_not_meant() -> None:
    assert "Did you mean" not in str(unknown_name("interpreter", "l2", ["cam", "grad"]))


def test_several_errors_cross_a_process_and_keep_their_parts() -> None:
    several = SeveralInputsError([InputError("eps is 0."), InputError("count is 0."), InputError("eps is 0.")])
    again = pickle.loads(pickle.dumps(several))
    assert str(again) == str(several) == "eps is 0. count is 0."
    assert [str(each) for each in again.each] == ["eps is 0.", "count is 0.", "eps is 0."]
