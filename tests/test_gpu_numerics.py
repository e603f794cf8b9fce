"""A GPU's arithmetic, imitated on a CPU: TF32 in convolutions, and kernels that are chosen by the batch size."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import underfire as uf
from tests.conftest import smooth_images
from underfire import batching, flags
from underfire.errors import ClassifierError, UnderfireWarning
from underfire.numerics import attacking, judging, scale

CPU = torch.device("cpu")


class Imitated(TorchFunctionMode):
    """Convolutions as a GPU computes them.

    Args:
        by_shape: add an error that depends on the number of images, as if each batch size had kernels of its own.
    """

    def __init__(self, by_shape: bool = False) -> None:
        super().__init__()
        self.by_shape = by_shape
        self.rounded = 0

    def __torch_function__(self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.conv2d:
            return func(*args, **(kwargs or {}))
        images, weight, *rest = args
        if flags.in_force().get("cuda.conv", "tf32" if torch.backends.cudnn.allow_tf32 else "none") == "tf32":
            self.rounded += images.dtype is torch.float32
            images, weight = tf32(images), tf32(weight)
        output = func(images, weight, *rest, **(kwargs or {}))
        return output * (1 + 1e-7 * len(images)) if self.by_shape else output


def tf32(values: Tensor) -> Tensor:
    """Round float32 values to 10 bits of mantissa; the gradient passes through."""
    if values.dtype is not torch.float32:
        return values
    bits = (values.detach().view(torch.int32) + 0x1000) & ~0x1FFF
    return values + (bits.view(torch.float32) - values).detach()


@contextmanager
def like_a_gpu(monkeypatch: pytest.MonkeyPatch, by_shape: bool = False) -> Iterator[Imitated]:
    monkeypatch.setattr(batching, "depends_on_batch", lambda device: True)
    with Imitated(by_shape) as mode:
        yield mode


def test_the_imitation_rounds_to_ten_bits() -> None:
    assert tf32(torch.tensor([1 + 2**-10, 1 + 2**-12, -3.0])).tolist() == [1 + 2**-10, 1, -3]


def test_nothing_is_refused_with_torchs_default_flags(
    classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = smooth_images(6)
    expected = classifier.logits(images)
    with like_a_gpu(monkeypatch) as mode:
        classifier.run(images)
        assert mode.rounded  # a user's own pass is rounded: these are torch's defaults
        mode.rounded = 0
        assert torch.equal(classifier.logits(images), expected)
        assert classifier.prepare(size=(16, 16)).deviation < 1e-5
        uf.interpreters.GradCAM().maps(classifier, images, expected.argmax(1))
        assert not mode.rounded


@pytest.mark.parametrize(("precision", "rounds"), [("float32", False), ("tf32", True)])
def test_the_steps_run_in_the_precision_that_was_asked_for(
    classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch, precision: str, rounds: bool
) -> None:
    images = smooth_images(4)
    labels = classifier.logits(images).argmax(1)
    attack = uf.attacks.preset("adv2", eps=8 / 255, steps=(2, 2))
    before = flags.in_force()
    with like_a_gpu(monkeypatch) as mode, warnings.catch_warnings():
        warnings.simplefilter("ignore", UnderfireWarning)  # tf32 on a CPU
        result = attack(uf.System(classifier, "cam"), images, labels, precision=precision)
        assert bool(mode.rounded) == rounds
        mode.rounded = 0
        confidence = classifier.logits(result.adversarial).softmax(1)[torch.arange(4), result.target]
        assert torch.allclose(result.confidence.float(), confidence, atol=1e-6)
        assert not mode.rounded
    assert flags.in_force() == before


@pytest.mark.parametrize("context", [lambda: judging(CPU), lambda: attacking("tf32", CPU)])
def test_flags_are_put_back_after_an_error(context: Callable[[], Any]) -> None:
    before = flags.in_force()
    with pytest.raises(KeyError), context():
        raise KeyError
    assert flags.in_force() == before


def test_tf32_on_a_cpu_is_said(classifier: uf.Classifier) -> None:
    with pytest.warns(UnderfireWarning, match="tf32' is for GPUs"):
        classifier.prepare("tf32", size=(16, 16))


def test_a_network_whose_kernels_depend_on_the_batch_is_accepted(
    classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = smooth_images(20)
    with like_a_gpu(monkeypatch, by_shape=True):
        several, single = classifier.run(images[:8]), classifier.run(images[:1])
        assert not torch.equal(several[:1], single)
        uf.attacks.benign.read_benign(uf.System(classifier, "cam"), images, several.argmax(1)[:1].repeat(20))


def test_on_a_gpu_an_image_gets_the_same_bits_in_any_company(
    classifier: uf.Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches are filled up, and do not shrink while some of their images are finished."""
    images = smooth_images(20)
    labels = classifier.logits(images).argmax(1)
    attack = uf.attacks.preset("adv2", eps=16 / 255, steps=(3, 30), early_stop=True)
    system = uf.System(classifier, "grad")
    with like_a_gpu(monkeypatch, by_shape=True):
        together = attack(system, images, labels, batch_size=16)
        alone = attack(system, images[17:19], labels[17:19], batch_size=16)
    assert torch.equal(together.adversarial[17:19], alone.adversarial)
    assert torch.equal(together.confidence[17:19], alone.confidence)
    for name in together.maps:
        assert torch.equal(together.maps[name][17:19], alone.maps[name])


def test_a_random_network_and_one_that_mixes_images_are_still_refused() -> None:
    class Noisy(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((2, 3)) + 1e-3 * torch.rand(len(images), 3)

    class Mixing(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return images.mean((2, 3)) - 0.1 * images.mean()

    for network, why in ((Noisy(), "is random"), (Mixing(), "depends on the other images")):
        with pytest.raises(ClassifierError, match=why):
            uf.attacks.benign.honest_logits(uf.Classifier(network, image_size=16), smooth_images(20))


def test_the_scale_of_logits() -> None:
    logits = torch.tensor([[1000.0, 1000.5, 999.5], [1000.0, 1000.0, 1000.0]])
    assert float(scale(logits)) == pytest.approx(1.0005)  # a thousandth of the largest
    assert float(scale(logits - 1000)) == pytest.approx(0.5)
    assert float(scale(torch.zeros(2, 3))) == pytest.approx(1e-6)


def test_run_json_says_what_was_in_force(tmp_path: Path) -> None:
    from tests.runs.conftest import small_config
    from underfire.runs import run_attack

    run_attack(small_config(count=2, steps=(1, 1)), tmp_path / "run")
    numerics = json.loads((tmp_path / "run" / "run.json").read_text())["numerics"]
    assert numerics["judged"] == numerics["attack"] == "float32"
    assert "tf32" not in numerics["flags_of_the_attack"].values()


def test_a_resumed_run_keeps_its_batch_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels depend on the batch here, as on a GPU: a run that is killed and goes on gives the bits of a whole one."""
    from tests.runs.conftest import small_config
    from underfire.runs import run_attack, work

    monkeypatch.setattr(work, "depends_on_batch", lambda device: True)
    config = small_config(count=6, steps=(2, 3))

    def hashes(folder: Path) -> dict[str, str]:
        found = {str(file.relative_to(folder)): file for file in folder.rglob("*.png")}
        return {name: hashlib.sha256(file.read_bytes()).hexdigest() for name, file in found.items()}

    class KilledError(Exception):
        pass

    def kill_at_second_shard(plan: Any, index: int, *rest: Any) -> None:
        if index:
            raise KilledError
        shard(plan, index, *rest)

    shard = work.attack_shard
    with like_a_gpu(monkeypatch, by_shape=True):
        run_attack(config, tmp_path / "whole", batch_size=2)
        with monkeypatch.context() as patch:
            patch.setattr(work, "attack_shard", kill_at_second_shard)
            with pytest.raises(KilledError):
                run_attack(config, tmp_path / "killed", batch_size=2)
        with pytest.warns(UnderfireWarning, match="began with a batch size of 2 and goes on with it"):
            run_attack(config, tmp_path / "killed", resume=True, batch_size=16)
    assert hashes(tmp_path / "killed") == hashes(tmp_path / "whole")
    assert len(hashes(tmp_path / "whole")) > 12
