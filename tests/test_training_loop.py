"""The training loop: equal to a loop written out by hand, resumable with the same bits, strict with checkpoints."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from underfire.checkpoints import load_checkpoint, save_checkpoint
from underfire.errors import InputError, StoreError
from underfire.training import Phase, Step, initial_weights, make_optimiser, train


def network() -> nn.Module:
    with initial_weights(3):
        return nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))


def batch(number: int) -> Tensor:
    return torch.rand(8, 4, generator=torch.Generator().manual_seed(number))


def loss(module: nn.Module, number: int) -> Tensor:
    images = batch(number)
    return (module(images) - images.sum(1, keepdim=True)).square().mean()


def phases(module: nn.Module) -> list[Phase]:
    def compute(number: int) -> dict[str, Tensor]:
        value = loss(module, number)
        return {"loss": value, "half": value / 2}

    first, last = module[0], module[2]
    return [
        Phase("first", 5, torch.optim.Adam(first.parameters()), lambda number: 0.01 / (number + 1), compute, 2),
        Phase("last", 4, torch.optim.SGD(last.parameters(), 1.0, momentum=0.9), lambda _: 0.02, compute, 3),
    ]


def test_a_training_that_diverges_ends_with_the_step_and_its_rate(tmp_path: Path) -> None:
    """Regression: it went on to the end without a word, and wrote weights that are no numbers."""
    module = network()
    diverging = [replace(phases(module)[1], steps=400, rate=lambda _: 1e30, checkpoint_every=1)]
    with pytest.raises(
        InputError, match=r"the loss of step \d+ of the training 'last' is (nan|inf): .*rate \(it is 1e"
    ):
        train(module, diverging, tmp_path)
    kept = load_checkpoint(tmp_path, torch.device("cpu"))
    assert kept is not None
    assert all(torch.tensor(kept["log"]["last"]["loss"]).isfinite())


def test_it_is_the_loop_written_out(tmp_path: Path) -> None:
    module, expected = network(), network()
    log = train(module, phases(module), tmp_path)
    optimisers = [
        torch.optim.Adam(expected[0].parameters()),
        torch.optim.SGD(expected[2].parameters(), 1.0, momentum=0.9),
    ]
    values = []
    for optimiser, rates in zip(optimisers, ([0.01 / n for n in range(1, 6)], [0.02] * 4), strict=True):
        for number, rate in enumerate(rates):
            optimiser.param_groups[0]["lr"] = rate
            value = loss(expected.train(), number)
            optimiser.zero_grad()
            value.backward()
            optimiser.step()
            values.append(float(value.detach()))
    assert all(torch.equal(value, module.state_dict()[name]) for name, value in expected.state_dict().items())
    assert log["first"]["loss"] + log["last"]["loss"] == values
    assert log["last"]["half"] == [value / 2 for value in values[5:]]


def test_interrupted_anywhere_it_ends_in_the_same_bits(tmp_path: Path) -> None:
    whole = network()
    expected = train(whole, phases(whole), tmp_path)
    places = [("first", number) for number in range(1, 6)] + [("last", number) for number in range(1, 5)]
    for place, begin in zip(places, (0, 2, 2, 4, 5, 5, 5, 8, 9), strict=True):
        folder = tmp_path / f"{place}"
        folder.mkdir()
        module, heard = network(), list[tuple[str, int]]()

        def stop(step: Step, place: tuple[str, int] = place, module: nn.Module = module) -> None:
            module.eval()  # a caller may measure the network after a step
            if (step.phase, step.number) == place:
                raise KeyboardInterrupt

        def hear(step: Step, heard: list[tuple[str, int]] = heard) -> None:
            heard.append((step.phase, step.number))

        with pytest.raises(KeyboardInterrupt):
            train(module, phases(module), folder, stop)
        module = network()
        assert train(module, phases(module), folder, hear) == expected
        assert heard == places[begin:], "from the last checkpoint on"
        assert all(torch.equal(value, module.state_dict()[name]) for name, value in whole.state_dict().items())


def test_dropout_survives_an_interruption(tmp_path: Path) -> None:
    """Regression: a training that went on drew other masks than one that was not interrupted."""

    def dropping() -> nn.Sequential:
        with initial_weights(3):
            return nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.Linear(16, 1))

    def run(module: nn.Sequential, name: str, stop_after: int | None = None, seed: int = 0) -> list[float]:
        (tmp_path / name).mkdir(exist_ok=True)

        def stop(step: Step) -> None:
            if step.number == stop_after:
                raise KeyboardInterrupt

        phase = Phase(
            "only",
            6,
            torch.optim.SGD(module.parameters(), 0.1),
            lambda _: 0.05,
            lambda number: {"loss": loss(module, number)},
            checkpoint_every=2,
        )
        return train(module, [phase], tmp_path / name, stop, seed=seed)["only"]["loss"]

    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    whole = dropping()
    losses = run(whole, "whole")
    assert torch.equal(torch.rand(1), expected), "torch's own random numbers go on as if nothing had been drawn"
    with pytest.raises(KeyboardInterrupt):
        run(dropping(), "stopped", stop_after=3)
    again = dropping()
    assert run(again, "stopped") == losses
    assert torch.equal(again[0].weight, whole[0].weight)
    assert len(set(losses)) == 6
    assert run(dropping(), "seed 1", seed=1)[0] != losses[0], "another seed has other masks"


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    module = network()
    train(module, phases(module), tmp_path)
    good = load_checkpoint(tmp_path, "cpu")
    assert good is not None
    for bad in (good | {"phase": "third"}, good | {"network": {}}, {"epoch": 3, "network": good["network"]}):
        save_checkpoint(tmp_path, bad)
        with pytest.raises(StoreError, match="does not fit this training"):
            train(module, phases(module), tmp_path)


def test_initial_weights_disturb_nobody() -> None:
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    assert torch.equal(network()[0].weight, network()[0].weight)
    assert torch.equal(torch.rand(2), expected)


def averaged(module: nn.Module) -> list[Phase]:
    return [replace(phase, average=0.8) for phase in phases(module)]


def test_the_average_of_the_weights_is_that_of_its_definition(tmp_path: Path) -> None:
    """The weights after each step of a training without an average, averaged by hand, for one phase."""
    module, plain = network(), network()
    before = {name: value.double().clone() for name, value in plain.state_dict().items()}

    def take(step: Step) -> None:
        decay = min(0.8, step.number / (9 + step.number))
        for name, value in plain.state_dict().items():
            whole = not value.is_floating_point()
            before[name] = value.double() if whole else decay * before[name] + (1 - decay) * value.double()

    (tmp_path / "plain").mkdir()
    (tmp_path / "average").mkdir()
    train(plain, phases(plain)[:1], tmp_path / "plain", take)
    train(module, averaged(module)[:1], tmp_path / "average")
    for name, value in module.state_dict().items():
        assert torch.allclose(value.double(), before[name], atol=1e-6)
    assert not torch.equal(module.state_dict()["0.weight"], plain.state_dict()["0.weight"])


def test_an_average_survives_an_interruption(tmp_path: Path) -> None:
    whole = network()
    train(whole, averaged(whole), tmp_path)
    for place in (("first", 3), ("first", 5), ("last", 1), ("last", 4)):
        folder = tmp_path / f"{place}"
        folder.mkdir()

        def stop(step: Step, place: tuple[str, int] = place) -> None:
            if (step.phase, step.number) == place:
                raise KeyboardInterrupt

        module = network()
        with pytest.raises(KeyboardInterrupt):
            train(module, averaged(module), folder, stop)
        module = network()
        train(module, averaged(module), folder)
        assert all(torch.equal(value, module.state_dict()[name]) for name, value in whole.state_dict().items())


@pytest.mark.parametrize(("kind", "expected"), [("sgd", "SGD"), ("adam", "Adam"), ("adamw", "AdamW")])
def test_optimisers_by_name(kind: str, expected: str) -> None:
    made = make_optimiser(kind, network().parameters(), 0.1, 0.01)
    assert type(made).__name__ == expected
    assert (made.param_groups[0]["lr"], made.param_groups[0]["weight_decay"]) == (0.1, 0.01)
