"""The display of a result in a notebook."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

import underfire as uf
from tests.conftest import smooth_images, tiny_network
from tests.showing import Display, interval, pictures_of
from underfire import metrics
from underfire.attacks import MEASURES, AttackResult
from underfire.drawing.notebook import HEADINGS, SIDE, places
from underfire.errors import InputError

EVIL = '</td><script>alert(1)</script>"\'><img src=x onerror="alert(1)">\u202e'
IMAGES = smooth_images(6)


@pytest.fixture(scope="module")
def result() -> AttackResult:
    """Of six images, the first of which has a wrong label."""
    classifier = uf.Classifier(tiny_network(), class_names=(EVIL, "bee <i>", "cat & dog", "d"))
    system = uf.System(classifier, ["cam", "grad"])
    labels = classifier.logits(IMAGES).argmax(1)
    labels[0] = (labels[0] + 1) % 4
    return uf.attack(system, IMAGES, labels, eps="16/255", steps=(5, 15))


def test_the_table_has_the_numbers_of_the_summary(result: AttackResult) -> None:
    shown = Display(result._repr_html_())
    assert tuple(shown.rows[0]) == HEADINGS
    rows = {(attack, name): [interval(cell) for cell in cells] for attack, name, *cells in shown.rows[1:]}
    assert list(rows) == [(attack, name) for name in ("cam", "grad") for attack in ("bim", "noise", "adv2")]
    summary, right = result.summary(), result.correct_before
    assert int(right.sum()) == 5
    for name in ("cam", "grad"):
        found = rows["adv2", name]
        wanted = [summary[key] for key in ("success", f"map_l1/{name}", f"joint_success/{name}")]
        for cell, one in zip(found, wanted, strict=True):
            assert cell == pytest.approx((one.mean, one.low, one.high), abs=6e-4)
        noise = result.controls["noise"]
        near = noise.map_l1_target[name].double() < result.map_limit[name]
        wanted = [metrics.interval(noise.success[right]), summary[f"map_l1/{name} under noise"]]
        *cells, joint = rows["noise", name]
        for cell, one in zip(cells, wanted, strict=True):
            assert cell == pytest.approx((one.mean, one.low, one.high), abs=6e-4)
        assert joint[0] == pytest.approx(float((noise.success & near)[right].double().mean()), abs=6e-4)
    assert any("Means over 5 images classified" in text for text in shown.texts)


def test_the_pictures_are_the_images_and_their_maps(result: AttackResult) -> None:
    shown = Display(result._repr_html_())
    assert [name for name, _ in shown.pictures] == ["clean", "adversarial", "map before", "map after"] * 3
    for number, place in enumerate([1, 3, 5]):
        clean, adversarial = (
            (images[place] * 255).round().byte().permute(1, 2, 0).numpy()
            for images in (result.images, result.adversarial)
        )
        before, after = (maps["cam"][place].numpy() for maps in (result.benign_maps, result.maps))
        expected = pictures_of(clean, adversarial, before, after)
        for (_, found), wanted in zip(shown.pictures[4 * number :], expected, strict=False):
            assert np.array_equal(found, wanted)


def test_names_of_classes_are_text_and_no_markup(result: AttackResult) -> None:
    html = result._repr_html_()
    shown = Display(html)
    assert "script" not in shown.elements
    assert "<i>" not in html
    names = [EVIL.replace("\u202e", "\\u202e"), "bee <i>", "cat & dog", "d"]
    captions = [text for text in shown.texts if " -> " in text]
    assert len(captions) == 3
    for place, caption in zip([1, 3, 5], captions, strict=True):
        assert result.target is not None
        said = f"{names[int(result.labels[place])]} -> {names[int(result.target[place])]}: "
        assert caption.startswith(said)
        joint, success = bool(result.joint_success["cam"][place]), bool(result.success[place])
        assert caption.removeprefix(said) == (
            "not reached" if not success else "reached, map kept" if joint else "reached, map not kept"
        )


def test_figure_is_a_picture_of_some_images(result: AttackResult) -> None:
    one, four, other = result.figure(1), result.figure(4), result.figure(1, "grad")
    assert one.mode == "RGB"
    assert one.width == four.width
    assert four.height > 3 * one.height - 200
    assert one.size == other.size
    assert one.tobytes() != other.tobytes()
    with pytest.raises(InputError, match="interpreter is 'lrp'; the result has cam, grad"):
        result.figure(interpreter="lrp")
    with pytest.raises(InputError, match="count is 0"):
        result.figure(0)


@pytest.mark.parametrize("targeted", [True, False])
def test_results_of_other_attacks_show_themselves(targeted: bool) -> None:
    """Toward another map, of grey images, without names of classes, untargeted."""
    classifier = uf.Classifier(tiny_network(channels=1), channels=1)
    images = smooth_images(3, channels=1)
    options: dict[str, Any] = {"target_map": "patch"} if targeted else {"targeted": False}
    result = uf.attack(
        uf.System(classifier, "cam"), images, classifier.logits(images).argmax(1), eps=0.1, steps=(1, 3), **options
    )
    shown = Display(result._repr_html_())
    wanted = ["wanted map"] if targeted else []
    assert [name for name, _ in shown.pictures] == ["clean", "adversarial", "map before", *wanted, "map after"] * 3
    captions = [text for text in shown.texts if " -> " in text]
    assert all(text.startswith("class ") for text in captions)
    own = classifier.logits(result.adversarial).argmax(1).tolist()
    reached = dict(zip(own, result.success.tolist(), strict=True))
    named = [f"-> class {number}" for number, success in reached.items() if success]
    assert targeted or all(any(each in text for each in (*named, "-> any other")) for text in captions)
    assert not targeted or not any("any other" in text for text in captions)
    assert result.figure().width > 4 * SIDE


def test_places_are_spread_over_the_images_that_were_right() -> None:
    assert places([True] * 9, 3) == [0, 4, 8]
    assert places([False, True, True, False, True], 2) == [1, 4]
    assert places([False, True], 5) == [1]
    assert places([False], 2) == []


def test_the_chance_control_of_each_image_is_an_attribute(result: AttackResult) -> None:
    right, summary = result.correct_before, result.summary()
    for name in ("cam", "grad"):
        other, average = result.chance_other_map[name], result.chance_average_map[name]
        assert other.isnan().tolist() == (~right).tolist()
        assert float(other[right].mean()) == pytest.approx(summary[f"chance/{name}/other map"].mean)
        assert float(average[right].double().mean()) == pytest.approx(summary[f"chance/{name}/average map"].mean)
        assert not average[~right].any()


def rows_of(tables: list[dict[str, Any]], attack: str, interpreter: str) -> dict[str, Any]:
    (found,) = (table for table in tables if (table["attack"], table["interpreter"]) == (attack, interpreter))
    return found


def test_to_pandas_has_a_row_per_attack_interpreter_and_image(
    result: AttackResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without pandas: with a module that has the two functions."""
    fake = SimpleNamespace(DataFrame=dict, concat=lambda tables, ignore_index: tables)
    monkeypatch.setitem(sys.modules, "pandas", fake)  # type: ignore[arg-type]
    tables = result.to_pandas()
    assert len(tables) == 4 * 2
    row = rows_of(tables, "adv2", "grad")
    assert list(row["position"]) == list(range(6))
    assert np.array_equal(row["map_l1"], result.map_l1["grad"].numpy())
    assert np.array_equal(row["success"], result.success.numpy())
    assert np.array_equal(row["joint_success"], result.joint_success["grad"].numpy())
    assert np.array_equal(row["target"], result.target)  # type: ignore[arg-type]
    control = rows_of(tables, "bim", "cam")
    for name in MEASURES:
        assert name in row or name.endswith("_inside"), "data without true masks"
        if name.startswith("chance_"):
            assert np.array_equal(row[name], getattr(result, name)["grad"].numpy(), equal_nan=True)
    assert np.array_equal(row["joint_success_all"], result.joint_success_all.numpy())
    assert np.array_equal(row["joint_success_own_limit"], result.joint_success_own_limit["grad"].numpy())
    near = result.controls["bim"].map_l1_target["cam"].double().numpy() < result.limits["cam"].own
    assert np.array_equal(control["joint_success_own_limit"], near & control["success"] & control["correct_before"])
    clean = rows_of(tables, "clean", "cam")
    assert not clean["map_l1"].any()
    assert not clean["joint_success"].any()


def test_to_pandas_with_pandas(result: AttackResult) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = result.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert len(frame) == 4 * 2 * 6
    chosen = frame[(frame.attack == "adv2") & (frame.interpreter == "cam")]
    assert torch.equal(torch.tensor(chosen.map_l1.to_numpy()), result.map_l1["cam"])


def test_to_pandas_without_pandas_says_what_to_install(result: AttackResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="pip install pandas"):
        result.to_pandas()
