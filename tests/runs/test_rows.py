"""Every row of results.parquet, recomputed from the image that it names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from skimage.filters import sobel as skimage_sobel
from skimage.metrics import structural_similarity
from torch import Tensor

import underfire as uf
from tests.runs.runs import MISLABELLED, Row, Written
from underfire.checkpoints import state_hash
from underfire.interpreters import create

ATTACKS = ("clean", "noise", "bim", "adv2")
INTERPRETERS = ("cam", "grad")
EPS = 0.2


def read_for(rows: list[Row]) -> Tensor:
    """The classes that the maps of ``rows`` explain: controls are read for the label, attacks for the target."""
    controls = ("clean", "noise")
    return torch.tensor([row["label" if row["attack"] in controls else "target"] for row in rows])


def honest_maps(images: Tensor, classes: Tensor, interpreter: str) -> Tensor:
    return create(interpreter).maps(uf.classifiers.load("digits-resnet"), images, classes)


def test_every_attack_is_read_by_every_interpreter_on_every_image(full: Written) -> None:
    attacked = {row["image_id"] for row in full.rows if row["correct_before"]}
    missed = {row["image_id"] for row in full.rows if not row["correct_before"]}
    assert len(attacked) == 13
    assert missed == {f"pictures/{MISLABELLED:03d}.png"}
    expected = Counter((i, a, r) for i in attacked for a in ATTACKS for r in INTERPRETERS)
    expected += Counter((i, "clean", r) for i in missed for r in INTERPRETERS)
    assert Counter((row["image_id"], row["attack"], row["interpreter"]) for row in full.rows) == expected
    assert " ".join(full.rows[0]) == (
        "position image_id path image_file label target classifier attack cell perturbation shaping "
        "attacked_interpreters interpreter correct_before joint_success joint_success_all "
        "joint_success_own_limit chance_other_map chance_average_map success untargeted_success confidence "
        "map_l1 map_l2 map_iou map_ssim map_spearman map_l1_target ssim linf l2 edge_energy steps forwards "
        "backwards seconds map_mass_inside map_peak_inside seed"
    )


def test_labels_and_paths_are_those_of_the_data(full: Written, digits_table: Path) -> None:
    lines = digits_table.read_text().splitlines()[1:]
    labels = {name: int(label) for name, label in (line.split(",") for line in lines)}
    for row in full.rows:
        assert row["label"] == labels[row["image_id"]]
        assert Path(row["path"]) == digits_table.parent / row["image_id"]
        assert row["seed"] == 3
        assert lines[row["position"]].startswith(f"{row['image_id']},")
        assert row["classifier"] == "digits-resnet"
    assert set(labels) == {row["image_id"] for row in full.rows}


def test_the_clean_files_are_the_prepared_images(full: Written, digits_table: Path) -> None:
    rows = full.of("clean") + full.of("clean", correct_before=False)
    batch = uf.data.open_data(digits_table).load((16, 16), 1)
    by_id = dict(zip(batch.ids, batch.images, strict=True))
    assert torch.equal(full.images(rows), torch.stack([by_id[row["image_id"]] for row in rows]))


@pytest.mark.parametrize("attack", ATTACKS)
def test_verdicts_follow_from_the_saved_image(full: Written, attack: str) -> None:
    rows = full.of(attack)
    logits = uf.classifiers.load("digits-resnet").logits(full.images(rows))
    predicted, probabilities = logits.argmax(1).tolist(), logits.softmax(1)
    for row, said, probability in zip(rows, predicted, probabilities, strict=True):
        assert row["target"] != row["label"]
        assert row["success"] == (said == row["target"])
        assert row["untargeted_success"] == (said != row["label"])
        assert row["confidence"] == pytest.approx(float(probability[row["target"]]), abs=1e-5)
    succeeded = sum(row["success"] for row in rows)
    assert succeeded == 0 if attack == "clean" else succeeded < 3 if attack == "noise" else succeeded > 6


@pytest.mark.parametrize("attack", ATTACKS)
def test_image_distances_follow_from_the_saved_image(full: Written, attack: str) -> None:
    rows = full.of(attack)
    clean = {row["image_id"]: image for row, image in zip(full.of("clean"), full.images(full.of("clean")), strict=True)}
    for row, image in zip(rows, full.images(rows), strict=True):
        benign, changed = clean[row["image_id"]][0].double().numpy(), image[0].double().numpy()
        assert row["linf"] == pytest.approx(np.abs(changed - benign).max(), abs=1e-6)
        assert row["l2"] == pytest.approx(np.sqrt(((changed - benign) ** 2).sum()), abs=1e-5)
        likeness = structural_similarity(
            benign, changed, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1
        )
        assert row["ssim"] == pytest.approx(likeness, abs=1e-5)
        energy = (changed - benign) ** 2
        share = (energy * (skimage_sobel(benign) > 0.1)).sum() / max(energy.sum(), 1e-300)
        assert row["edge_energy"] == pytest.approx(share, abs=1e-3)  # a pixel may lie right at the threshold
        assert row["linf"] <= EPS + 1e-6
    if attack == "noise":
        assert all(row["linf"] == pytest.approx(int(EPS * 255) / 255) for row in rows)
        assert len({image.numpy().tobytes() for image in full.images(rows) - full.images(full.of("clean"))}) == len(
            rows
        )
    if attack in ("bim", "adv2"):
        assert all(row["linf"] > 0 for row in rows)


@pytest.mark.parametrize("interpreter", INTERPRETERS)
@pytest.mark.parametrize("attack", ATTACKS)
def test_maps_and_their_distances_follow_from_the_saved_image(full: Written, attack: str, interpreter: str) -> None:
    rows, clean = full.of(attack, interpreter), full.of("clean", interpreter)
    maps = honest_maps(full.images(rows), read_for(rows), interpreter)
    expected = honest_maps(full.images(clean), read_for(clean), interpreter)
    assert [row["image_id"] for row in rows] == [row["image_id"] for row in clean]
    for row, shown, benign in zip(rows, maps, expected, strict=True):
        saved = full.maps[f"{attack}/{interpreter}/{row['image_id']}"]
        assert torch.allclose(saved, shown, atol=1e-5)
        a, b = shown.double().numpy(), benign.double().numpy()
        assert row["map_l1"] == pytest.approx(np.abs(a - b).mean(), abs=1e-5)
        assert row["map_l1_target"] == pytest.approx(row["map_l1"], abs=1e-9)  # the target is the benign map
        assert row["map_l2"] == pytest.approx(np.sqrt(((a - b) ** 2).mean()), abs=1e-5)
        either, both = ((a >= 0.5) | (b >= 0.5)).sum(), ((a >= 0.5) & (b >= 0.5)).sum()
        assert row["map_iou"] == pytest.approx(both / either, abs=1e-5)
        s, t = saved.numpy(), full.maps[f"clean/{interpreter}/{row['image_id']}"].numpy()
        assert row["map_spearman"] == pytest.approx(spearmanr(s.ravel(), t.ravel()).statistic, abs=1e-5)
        if attack == "clean":
            assert (row["map_l1"], row["map_l2"], row["map_iou"], row["map_ssim"]) == (0, 0, 1, 1)
            assert (row["linf"], row["l2"], row["ssim"], row["success"]) == (0, 0, 1, False)
        else:
            assert row["map_l1"] > 0


def test_there_is_one_map_per_row(full: Written) -> None:
    assert set(full.maps) == {f"{row['attack']}/{row['interpreter']}/{row['image_id']}" for row in full.rows}


def test_a_misclassified_image_is_only_measured_clean(full: Written) -> None:
    rows = [row for row in full.rows if not row["correct_before"]]
    assert [row["attack"] for row in rows] == ["clean", "clean"]
    said = int(uf.classifiers.load("digits-resnet").logits(full.images(rows[:1])).argmax())
    assert said != rows[0]["label"]
    assert all(row["untargeted_success"] and not row["joint_success"] for row in rows)
    assert all(row["target"] is None and row["linf"] == 0 and row["map_l1"] == 0 for row in rows)


@pytest.mark.parametrize("interpreter", INTERPRETERS)
def test_joint_success_is_success_with_a_map_nearer_than_the_limit(full: Written, interpreter: str) -> None:
    noise = [
        [row["map_l1"], *full.noise[f"noise/{interpreter}/{row['image_id']}"].tolist()]
        for row in full.of("noise", interpreter)
    ]
    threshold = full.summary["joint_success_threshold"][interpreter]
    limit = min(np.quantile(noise, 0.95), threshold["by_other_map"], threshold["by_average_map"])
    for attack in ATTACKS:
        for row in full.of(attack, interpreter):
            assert row["joint_success"] == (row["success"] and row["map_l1_target"] < limit)
    assert threshold["map_l1_below"] == pytest.approx(limit)
    for attack in ATTACKS:
        for cam, grad in zip(full.of(attack, "cam"), full.of(attack, "grad"), strict=True):
            both = cam["joint_success"] and grad["joint_success"]
            assert cam["joint_success_all"] == grad["joint_success_all"] == both
    outcomes = {row["joint_success"] for i in INTERPRETERS for row in full.of("adv2", i)}
    assert outcomes == {True, False}  # or the test above would show little


def test_costs_and_settings_of_each_attack(full: Written) -> None:
    for row in full.rows:
        attacked = row["attack"] in ("bim", "adv2")
        assert row["perturbation"] == {"bim": "bim", "adv2": "pgd"}.get(row["attack"], "")
        assert row["shaping"] == ("uniform" if attacked else "")
        assert row["attacked_interpreters"] == ("cam+grad" if row["attack"] == "adv2" else "")
        if attacked:
            assert 0 < row["steps"] <= 40
            assert row["forwards"] >= row["steps"] >= 1
            assert row["backwards"] > 0
            assert row["seconds"] > 0
        else:
            assert (row["steps"], row["forwards"], row["backwards"], row["seconds"]) == (0, 0, 0, 0)
    assert all(row["steps"] == 40 for row in full.of("bim"))  # as many as the joint attack may take


def test_run_json_says_what_the_results_depend_on(full: Written, digits_table: Path) -> None:
    run = full.run
    assert run["finished"] is True
    assert run["configuration"]["eps"] == EPS
    assert run["configuration"]["steps"] == [10, 30]
    assert run["configuration"]["interpreters"] == ["cam", "grad"]
    classifier = uf.classifiers.load("digits-resnet")
    assert run["weights_sha256"] == state_hash(classifier.module)
    assert run["classifier_sha256"] == classifier.sha256()
    assert run["data_sha256"] == uf.data.open_data(digits_table).fingerprint()
    assert run["versions"]["torch"] == torch.__version__
    assert run["device"]["type"] in ("cpu", "cuda")
    assert [(cell["label"], cell["kind"]) for cell in run["cells"]] == [
        ("clean", "clean"),
        ("bim", "control"),
        ("adv2", "attack"),
        ("noise", "noise"),
    ]
    assert set(run["attacks"]) == {"bim", "adv2"}
