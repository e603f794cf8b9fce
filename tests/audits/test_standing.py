"""The standing of an audit: what it keeps in its file, and what one radius passes on to a larger one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import underfire as uf
from tests.audits.conftest import SHORT, Given
from underfire.attacks.benign import read_benign
from underfire.audits import audit
from underfire.audits.standing import SMALLER, Found, Standing
from underfire.errors import InputError


def test_the_state_of_another_classifier_is_refused(digits: Given, tmp_path: Path) -> None:
    how = {"eps": 0.1, "ensemble": SHORT[:1], "folder": tmp_path}
    audit(uf.System(digits.classifier, "cam"), digits.images, digits.labels, **how)
    with pytest.raises(InputError, match=r"other random numbers \(seed 0; now seed 1\)"):
        audit(uf.System(digits.classifier, "cam"), digits.images, digits.labels, seed=1, **how)
    shifted = (digits.images + 8 / 255).clamp(0, 1)
    with pytest.raises(InputError, match="other images, labels or names of images"):
        audit(uf.System(digits.classifier, "cam"), shifted, digits.labels, **how)
    (state,) = tmp_path.glob("*.npz")
    state.write_bytes(state.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read"):
        audit(uf.System(digits.classifier, "cam"), digits.images, digits.labels, **how)


def test_a_state_survives_its_file(digits: Given, tmp_path: Path) -> None:
    benign = read_benign(uf.System(digits.classifier, "cam"), digits.images, digits.labels)
    state = Standing.begin(benign)
    changed = digits.images[2:4] * 0

    def one(places: list[int], classes: list[int], wrong: list[bool], distance: list[float], images: Tensor) -> Found:
        return Found(
            *(torch.tensor(places), images, torch.tensor(classes), torch.tensor(wrong), torch.tensor(distance))
        )

    state.add("one", one([2, 4], [7, 1], [True, False], [0.2, 0.1], changed), 0.3, 5)
    assert state.tried_by("one").nonzero()[0].tolist() == [2, 4]
    state.finish("one")
    assert not state.tried
    state.add("two", one([2], [8], [True], [0.25], changed[:1] + 1), 0.3, 5)
    state.save(tmp_path / "state.npz", benign, ("cam",), {"random numbers": "seed 0"})
    read = Standing.load(tmp_path / "state.npz", benign, ("cam",), {"random numbers": "seed 0"})
    assert read is not None  # there is a file; what it holds is compared below
    assert read.wrong.nonzero()[0].tolist() == [2]
    assert read.nearest[2] == pytest.approx(0.2)
    assert np.isinf(read.nearest[4])
    assert (read.wrong_by[2], read.kept_by[2], read.wrong_by[4]) == ("one", "one", "")
    assert read.gradients.tolist()[2:5] == [10, 0, 5]
    assert int(read.classes[2]) == 7
    assert float(read.images[2].abs().max()) == 0
    assert torch.equal(read.images[4], digits.images[4])
    assert read.done == ["one"]
    assert list(read.tried) == ["two"]
    assert read.tried_by("two").nonzero()[0].tolist() == [2]
    assert not read.tried_by("one").any()
    assert (read.nearest_by[2], read.nearest_by[4]) == ("one", "")
    changed_maps = replace(benign, maps={"cam": benign.maps["cam"] ** 2})
    with pytest.raises(InputError, match="another form of cam, whose maps of the clean images differ"):
        Standing.load(tmp_path / "state.npz", changed_maps, ("cam",), {"random numbers": "seed 0"})


def test_what_is_kept_only_at_the_larger_radius_is_the_find_of_its_member(digits: Given) -> None:
    benign = read_benign(uf.System(digits.classifier, "cam"), digits.images, digits.labels)
    small, large, every = Standing.begin(benign), Standing.begin(benign), np.ones(12, dtype=bool)
    found = Found(
        torch.tensor([0, 1]),
        digits.images[:2],
        torch.tensor([5, 5]),
        torch.tensor([True, True]),
        torch.tensor([0.1, 0.4]),
    )
    small.add("search", found, 0.2, 0)
    large.inherit(small, small.finds(every), 0.2, 0.5)
    assert large.wrong_by[:2] == ["search, smaller eps"] * 2
    assert large.kept_by[:2] == [SMALLER, "search, smaller eps"]
    larger = Standing.begin(benign)
    larger.inherit(large, large.finds(every), 0.35, 0.5)
    assert larger.kept_by[:2] == [SMALLER, "search, smaller eps"]
    assert larger.wrong_by[:2] == ["search, smaller eps"] * 2
    larger.overrule(["auto"] * 2, replace(found, wrong=torch.tensor([False, True])), {"search"})
    assert larger.wrong_by[:2] == ["search, smaller eps", "auto"]
    larger.overrule(["search, attack on cam"] * 2, found, {"search"})
    assert larger.wrong_by[:2] == ["search, smaller eps", "auto"]
    larger.overrule(["adv2, attack on cam"] * 2, found, {"search"})
    assert larger.wrong_by[:2] == ["adv2, attack on cam", "auto"]
    assert large.nearest[:2].tolist() == pytest.approx([0.1, 0.4])
