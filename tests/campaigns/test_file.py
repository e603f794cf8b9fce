"""Campaign files: what is read, and what is said of mistakes, with the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from underfire.campaigns.file import read_grid
from underfire.errors import InputError

GOOD = """name = "small"
[settings]
data = "scenes:test"
classifier = "scenes-resnet"
count = 4
[grid]
interpreter = ["cam", "grad"]
attack = ["adv2", "auto"]
[[change]]
where = {attack = "adv2"}
set = {steps = [2, 3]}
[[exclude]]
attack = "auto"
interpreters = "grad"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "campaign.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_read_with_names_of_options(tmp_path: Path) -> None:
    grid = read_grid(write(tmp_path, GOOD))
    assert grid.name == "small"
    assert [(p.config.interpreters, p.config.attack, p.config.steps) for p in grid.points()] == [
        (("cam",), "adv2", (2, 3)),
        (("grad",), "adv2", (2, 3)),
        (("cam",), "auto", None),
    ]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("[grid]", "[grids]", r"line 6: .*'grids'.*grid"),
        ("count = 4", "cuont = 4", r"line 5: .*'cuont'.*count"),
        ("attack = [", "atack = [", r"line 8: .*'atack'.*attack"),
        ("where = {attack", "where = {atack", r"line 10: .*'atack'.*attack"),
        ("set = {steps", "set = {stpes", r"line 11: .*'stpes'.*steps"),
        ('interpreters = "grad"\n', 'interpretters = "grad"\n', r"line 14: .*'interpretters'.*interpreters"),
        ('attack = ["adv2", "auto"]', 'attack = "adv2"', r"line 6: grid.attack: .*list"),
        ("where = {attack", "were = {attack", r"line 9: change.*where"),
        ("[[exclude]]", "[exclude]", r"exclude: .*list"),
        ('interpreter = ["cam", "grad"]', 'interpreter = ["cam"]\ninterpreters = ["cam"]', "line 7: .*one setting"),
        ("count = 4", "count = ", "no TOML.*line 5"),
        ('name = "small"', "name = 5", "line 1: name: expected a text"),
        ('name = "small"', 'agreed = "perhaps"', "line 1: agreed: expected true or false"),
        ("set = {steps = [2, 3]}", "set = {}", "change.set: expected at least 1 item, not 0"),
        ("[settings]", "[[settings]]", "settings: expected a table"),
        ("count = 4", "count = 0", r"toml, line 5: count is 0; expected at least 1 image\.$"),
        ('["cam", "grad"]', '["cam", "kam"]', r"line 7: unknown interpreter 'kam'.*kam; and 1 more\)\.$"),
        ("[settings]\n", "", r"line 2: data is a setting of runs; expected below \[settings\]"),
        ("set = {steps = [2, 3]}", 'set = {steps = "x"}', r"line 11: steps is 'x'; .* \(run .*adv2.*; and 1 more\)\.$"),
        ('classifier = "scenes-resnet"\n', "", r"campaign\.toml: classifier is missing"),
        ("count = 4", 'count = 4\nsteps = "x"', r"line 6: steps is 'x'"),
        ("set = {steps = [2, 3]}", "set = {budget = 3}", r"line 11: budget is 3, and attack 'adv2' has steps"),
        ("count = 4", 'count = 4\neps = "0.1"\nperturbation = "cw"', r"line 6: eps is 0\.1, and cw has no ball"),
        ("set = {steps = [2, 3]}", "set = {count = 0}", r"line 11: count is 0"),
        ('["cam", "grad"]', "[]", r"toml, line 7: grid\.interpreters is an empty list"),
        ('attack = "auto"\ninterpreters = "grad"', "count = 4", r"line 12: .*\[\[exclude\]\] leaves all"),
        ('attack = "auto"\ninterp', 'attack = "bim"\ninterp', r"line 12: \[\[exclude\]\] with attack = bim"),
        ('where = {attack = "adv2"}', 'where = {attack = "bim"}', r"line 9: \[\[change\]\] with attack = bim"),
        ("[[exclude]]", "[[include]]\nseed = 1\n[[include]]\nseed = 1\n[[exclude]]", "line 14: two runs .* the same"),
        ('["adv2", "auto"]', '["adv2", "adv2"]\n[[exclude]]\ncount = 5', r"line 9: \[\[exclude\]\] with count = 5"),
        (
            'where = {attack = "adv2"}\nset = {steps = [2, 3]}',
            '[change.where]\nattack = "adv2"\n[change.set]\nseed = 2\n[[change]]\nwhere = {seed = 9}\nset = {seed = 3}',
            r"line 14: \[\[change\]\] with seed = 9",
        ),
        ("set = {steps = [2, 3]}", 'set = {attack = "advv2"}', r"toml, line 11: unknown attack 'advv2'.*'adv2'"),
    ],
)
def test_mistakes_are_named_with_their_line(tmp_path: Path, before: str, after: str, said: str) -> None:
    assert before in GOOD
    path = write(tmp_path, GOOD.replace(before, after, 1))
    with pytest.raises(InputError, match=said):
        read_grid(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.toml'.*cannot be read"):
        read_grid(tmp_path / "none.toml")
