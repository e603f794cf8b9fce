"""``underfire check``: class orders, inputs, sigmoids, batches that matter, parts without a second derivative."""

from __future__ import annotations

import functools
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from torch import Tensor, nn

import underfire as uf
from tests.conftest import Squared, smooth_images, tiny_network
from tests.runs.runs import Command
from underfire.attacks.second_order import without_second_derivative
from underfire.check import Check, run_check, trials
from underfire.check.class_order import accuracy_interval, better_order, label_agreement
from underfire.check.network_parts import find_parts
from underfire.check.trials import try_interpreters
from underfire.cli.check import shown
from underfire.data.sampling import evenly_spaced
from underfire.errors import InputError
from underfire.interpreters import CAM
from underfire.runs.inputs import InputSettings


def test_the_interval_is_wilsons() -> None:
    low, high = accuracy_interval(8, 10)  # from the quadratic: (p - share)^2 = z^2 p (1 - p) / n
    z = 1.959964
    for bound in (low, high):
        assert (bound - 0.8) ** 2 == pytest.approx(z * z * bound * (1 - bound) / 10)
    assert accuracy_interval(0, 0) == (0.0, 1.0)
    assert accuracy_interval(10, 10)[1] == pytest.approx(1)


@given(total=st.integers(1, 300), count=st.integers(1, 80))
@settings(deadline=None)
def test_images_are_spread_in_pairs(total: int, count: int) -> None:
    chosen = evenly_spaced(total, count)
    assert len(set(chosen)) == len(chosen) <= count
    assert all(0 <= place < total for place in chosen)
    if count >= total:
        assert chosen == list(range(total))
    elif count > 2 and total > 4 * count:
        assert chosen[-1] >= (total - 1) // 2
        assert all(place + 1 in chosen for place in chosen[: count - 1 : 2])


LABELS = torch.arange(60) % 12


@pytest.mark.parametrize(
    ("predicted", "said"),
    [
        ((LABELS - 1) % 12, "labels look shifted by one: they count from 1"),
        ((LABELS + 1) % 12, "the classifier counts from 1"),
        (torch.tensor(sorted(range(12), key=str))[LABELS], "the classes look sorted as text"),
        (torch.tensor(sorted(range(12), key=str)).argsort()[LABELS], "the classifier's classes look sorted as text"),
        (11 - LABELS, "reversed"),
    ],
)
def test_known_confusions_of_orders(predicted: Tensor, said: str) -> None:
    fit = better_order(predicted, LABELS, 12)
    assert fit is not None
    assert said in fit.description
    assert fit.accuracy == 1


def test_the_alphabet() -> None:
    names = ("dog", "Cat", "owl", "ant")
    labels = torch.arange(40) % 4  # of the sorted names ant, Cat, dog, owl
    fit = better_order(torch.tensor([3, 1, 0, 2])[labels], labels, 4, names)
    assert fit is not None
    assert "alphabet" in fit.description


def test_a_right_order_and_guessing_are_left_alone() -> None:
    assert better_order(LABELS, LABELS, 12) is None
    assert better_order(torch.zeros(60, dtype=torch.int64), LABELS, 12) is None
    mostly = torch.where(torch.arange(60) % 3 == 0, (LABELS + 1) % 12, LABELS)
    assert better_order(mostly, LABELS, 12) is None


def test_agreement_on_a_permutation_and_on_nothing() -> None:
    permuted = (LABELS * 5 + 3) % 12
    found = label_agreement(permuted, LABELS)
    assert (found.share, found.count) == (1, 60)
    assert (0, 3) in found.pairs
    assert len(found.pairs) == 12
    assert found.one_to_one
    assert not label_agreement(torch.full((60,), 9), LABELS).one_to_one, "all labels on one class are no order"
    assert not label_agreement(LABELS // 2, LABELS).one_to_one, "nor are two labels on each class"
    assert not label_agreement(torch.full((6,), 9), torch.zeros(6)).one_to_one, "nor is one label"
    torch.manual_seed(0)
    assert label_agreement(torch.randint(0, 12, (60,)), LABELS).share < 0.3
    assert label_agreement(torch.arange(12), torch.arange(12)).count == 0, "single images prove nothing"


def digits() -> tuple[uf.Classifier, Tensor, Tensor]:
    classifier = uf.classifiers.load("digits-resnet")
    batch = uf.data.open_data("digits:test").load((16, 16), 1, range(32))
    return classifier, batch.images, batch.labels


def test_parts_have_their_authors_names(tiny: nn.Module) -> None:
    found = find_parts(uf.Classifier(tiny).prepare(), smooth_images(2))
    assert (found.features, found.head) == ("output of act, 8 x 8 x 8", "head, 8 -> 4")
    assert found.cam_error is not None
    assert found.cam_error < 1e-5
    mlp = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
    nothing = find_parts(uf.Classifier(mlp, image_size=16).prepare(), smooth_images(2))
    assert (nothing.head, nothing.cam_error) == ("1, 768 -> 4", None), "JSON has no infinity"


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = tiny_network()
        self.gate = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Hardsigmoid(), Squared())

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images * self.gate(images))


def test_the_part_without_a_second_derivative_is_named() -> None:
    images = smooth_images(2)
    assert without_second_derivative(uf.Classifier(Gated()).prepare(), images) == "gate.2 (Squared)"
    assert without_second_derivative(uf.Classifier(tiny_network()).prepare(), images) is None


def test_the_trials_name_the_part_without_a_second_derivative() -> None:
    images = smooth_images(4)
    classifier = uf.Classifier(Gated())
    heard: list[str] = []
    _, tried = try_interpreters(classifier, images, classifier.logits(images).argmax(1), heard.append)
    assert heard == list(uf.interpreters.REGISTRY)
    found = {trial.name: trial for trial in tried}
    assert not found["grad"].works
    assert found["grad"].module == "gate.2 (Squared)"
    assert "second derivative" in (found["grad"].problem or "")
    assert found["cam"].works
    assert found["cam"].module is None
    assert not found["rts"].works
    assert found["rts"].module is None, "a missing masker is no fault of a part"


@dataclass(frozen=True)
class Novel(CAM):
    name: ClassVar[str] = "novel"
    family: ClassVar[str] = "never published"


def test_an_interpreter_of_a_new_family_is_tried_too(monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, images, _ = digits()
    monkeypatch.setattr(trials, "REGISTRY", {"novel": Novel})
    monkeypatch.setattr(trials, "create", lambda _name: Novel())
    _, (trial,) = try_interpreters(classifier, images[:4], classifier.logits(images[:4]).argmax(1))
    assert trial.works
    assert trial.speed.run_seconds > 0


def test_progress_is_told_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "REGISTRY", {"cam": CAM})
    config = InputSettings.create(data="digits:test", classifier="digits-resnet")
    heard: list[str] = []
    found = run_check(config, 8, torch.device("cpu"), heard.append)
    assert heard[0] == "opening classifier and data"
    assert heard[-1] == "trying cam"
    assert found.ready
    assert [line["topic"] for line in found.to_dict()["findings"][:2]] == ["data", "preparation"]
    with pytest.raises(InputError, match="count is 0; expected at least 1 image"):
        run_check(config, 0, torch.device("cpu"))


def test_a_good_classifier(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "size_for", lambda *_, **__: 8)  # else steps are timed on many images
    wanted = (InputSettings.create(data="digits:test", classifier="digits-resnet"), 16, torch.device("cpu"))
    once = functools.cache(lambda: run_check(*wanted))  # shown as text and as JSON
    monkeypatch.setattr("underfire.check.run_check", lambda *given: once() if given[:3] == wanted else None)
    ended = command("check", "--data", "digits:test", "--classifier", "digits-resnet", "--count", 16)
    assert ended.code == 0
    assert ended.out.startswith("ready: 12 of 17 interpreters work")
    assert max(map(len, ended.out.splitlines())) <= 80
    ended = command("check", "--data", "digits:test", "--classifier", "digits-resnet", "--count", 16, "--json")
    found = json.loads(ended.out)
    assert (ended.code, found["ready"]) == (0, True)
    assert set(found["interpreters"]) == set(uf.interpreters.REGISTRY)
    times = found["interpreters"]["grad"]["speed"]
    assert min(times["forward"], times["step"], times["joint"]) > 0
    # The published schedule: 300 steps on the prediction, 704 jointly, 1004 of the control; 100 images.
    expected = (300 * times["step"] + 704 * times["joint"] + 1004 * times["step"]) * 100 / 1000
    assert times["run_seconds"] == pytest.approx(expected)
    # MASK: solutions of 300 passes both ways, before every 50th joint step, after the last, and nine of each image.
    times = found["interpreters"]["mask"]["speed"]
    solved = (1000 / 50 + 1 + 9) * 300 * times["step"]
    expected = ((400 + 1400) * times["step"] + 1000 * times["joint"] + solved) * 100 / 1000
    assert times["run_seconds"] == pytest.approx(expected)


def model(folder: Path, body: str) -> str:
    lines = ["import torch, underfire as uf", "from torch import nn", "def build():"]
    lines += [f"    {line}" for line in ("made = uf.classifiers.load('digits-resnet')", *body.split("\n"))]
    (folder / "model.py").write_text("\n".join(lines) + "\n")
    return f"{folder / 'model.py'}:build"


WRAP = "return uf.Classifier(nn.Sequential(made.module, {}), mean=(0.305,), std=(0.345,), image_size=16)"


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        (WRAP.format("nn.Softmax(1)"), 1, ["not ready: see output", "returns probabilities", "remove the softmax"]),
        (WRAP.format("nn.Sigmoid()"), 1, ["not ready: see output", "what comes out of a sigmoid", "multi-label"]),
        (
            "head = made.module.head\n"
            "order = torch.tensor([9, 0, 1, 2, 3, 4, 5, 6, 7, 8])\n"
            "head.weight.data, head.bias.data = head.weight.data[order], head.bias.data[order]\n"
            "return made",
            1,
            ["not ready: see accuracy", "nothing is right", "the classifier counts from 1: 98 % would be right"],
        ),
        (
            "head = made.module.head\n"
            "head.weight.data.mul_(1e-3), head.bias.data.zero_()\nhead.bias.data[9] = 1\nreturn made",
            0,
            ["no order of the classes fits: it answers class 9 for 64 of 64 images. Untrained weights"],
        ),
        (
            "made.module.bn = nn.BatchNorm2d(16, track_running_stats=False)\nreturn made",
            1,
            ["not ready: see output", "depends on the other images of its batch"],
        ),
        (
            "class Cut(nn.Module):\n    def forward(self, logits):\n        return logits.detach()\n"
            + WRAP.format("Cut()"),
            1,
            ["not ready: see gradient", "cannot be differentiated in the image: its forward cuts the graph"],
        ),
        (
            "class Round(nn.Module):\n    def forward(self, images):\n        return (images * 8).round() / 8\n"
            "return uf.Classifier(nn.Sequential(Round(), made), image_size=16)",
            1,
            ["not ready: see gradient", "zero everywhere: something in its forward, such as rounding"],
        ),
    ],
)
def test_what_stands_in_the_way(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, code: int, said: list[str]
) -> None:
    monkeypatch.setattr(trials, "REGISTRY", {name: uf.interpreters.REGISTRY[name] for name in ("cam", "grad")})
    ended = command("check", "--data", "digits:test", "--classifier", model(tmp_path, body))
    assert ended.code == code, ended.err
    shown = " ".join(ended.out.split())
    assert all(part in shown for part in said), shown


def test_wrong_usage_is_2(command: Command) -> None:
    for words in (["--classifier", "digit-resnet"], ["--classifier", "digits-resnet", "--mean", "x"], []):
        ended = command("check", "--data", "digits:test", *words)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("error: ")


def test_interpreters_with_one_problem_share_a_text() -> None:
    texts = {
        "attention": "Attention needs a transformer.",
        "rts": "RTS needs a masker.",
        "chefer": "Chefer needs a transformer.",
    }
    tried = [trials.InterpreterTrial(name, False, text) for name, text in texts.items()]
    said = shown(Check("mine", "photos", [], [*tried, trials.InterpreterTrial("cam", True)]))
    console = Console(file=io.StringIO(), width=80)
    console.print(said)
    text = console.file.getvalue()
    assert "attention, chefer: Attention needs a transformer.\nrts: RTS needs a masker.\n" in text
