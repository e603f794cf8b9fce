"""The board of defenses: each one judged by ``auto`` with an attacker who knows it, beside its quality and its cost.

    python -m benchmarks.defenses --data path/to/cifar10/test.parquet [--only ensemble] [--threads 1] [--aid FOLDER]
    python -m benchmarks.defenses --print
    python -m benchmarks.defenses --page

For each defense, the first images are attacked by ``auto`` and by PGD on the class alone, both toward any other class.
An image is fooled if one of the two reached another class; it is fooled jointly if the analyst's map was also kept: it
moved less than noise moves maps (see docs/concepts.md). Some rows attack other interpreters than the analyst reads.

``--aid`` names the folder of ``underfire train aid`` (by default, the masker that ships). The results of each finished
row go to ``docs/results/defenses/``, so that the script may be stopped and started at any time; the tables are made of
these files alone.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import underfire as uf
from benchmarks import defense_tables, run_on
from benchmarks.defense_tables import BEGIN, END, ROWS, write
from benchmarks.timing import take_turns
from underfire import metrics, randomness
from underfire.attacks import AttackResult, preset
from underfire.attacks.benign import read_benign
from underfire.interpreters import RTS, Interpreter, SmoothGrad
from underfire.interpreters.certified import SparsifiedSmoothGrad

EPS = 8 / 255
BUDGET = 100
"""Steps of ``auto``, and of PGD on the class alone."""
QUALITY = 200
"""Images on which keeping and deleting are measured."""
CLASSIFIER = "cifar10-resnet20"


@dataclass(frozen=True)
class Defense:
    """A row of the board.

    Args:
        name: of the row and its files.
        read: the interpreter that the analyst reads.
        attacked: the interpreters that the attacker attacks; the analyst's own if empty.
        count: the number of attacked images.
        network: the name of the classifier.
    """

    name: str
    read: Interpreter
    attacked: tuple[Interpreter, ...] = ()
    count: int = 32
    network: str = CLASSIFIER

    def classifier(self) -> uf.Classifier:
        return uf.classifiers.load(self.network)


def board(aid: str) -> Iterator[Defense]:
    """Yield the rows, the quick ones first."""
    make = uf.interpreters.create
    cam, grad, plain = make("cam"), make("grad"), RTS()
    yield Defense("plain-cam", cam)
    yield Defense("plain-grad", grad)
    for by in ("mean", "rank"):
        both = make(f"ensemble:{by}:cam+grad")
        yield Defense(f"ensemble-{by}-one", both, (cam,))
        yield Defense(f"ensemble-{by}-all", both)
    three = make("ensemble:median:cam+grad+rts")
    yield Defense("ensemble-median-one", three, (cam,))
    yield Defense("ensemble-median-two", three, (cam, grad))
    yield Defense("ensemble-median-all", three)
    yield Defense("rts", plain)
    trained = RTS(masker=aid)
    yield Defense("rts-aid-unaware", trained, (plain,))
    yield Defense("rts-aid", trained)
    for training in ("adversarial", "robust"):
        for name, each in (("cam", cam), ("grad", grad)):
            yield Defense(f"{training}-{name}", each, network=f"{CLASSIFIER}-{training}")
    smooth, sparse = SmoothGrad(), SparsifiedSmoothGrad()
    yield Defense("smoothgrad-known", smooth, count=8)
    yield Defense("smoothgrad-secret", smooth, (replace(smooth, seed=1),), count=8)
    yield Defense("sparsified-secret", sparse, (replace(sparse, seed=1, samples=16),), count=8)


def images_of(data: uf.data.ImageData, classifier: uf.Classifier, count: int) -> tuple[Tensor, Tensor, list[str]]:
    """Load the first images with their labels and names."""
    batch = data.load(classifier.image_size, classifier.channels, range(count), classifier.resizing)
    return batch.images, batch.labels, list(batch.ids)


def attack(defense: Defense, data: uf.data.ImageData) -> Iterator[dict[str, object]]:
    """Attack a defense, and yield one row per image."""
    classifier = defense.classifier()
    images, labels, ids = images_of(data, classifier, defense.count)
    if defense.attacked:
        names = {f"attacked-{place}": each for place, each in enumerate(defense.attacked)}
        system = uf.System(classifier, names, readers=[defense.read])
        (reader,) = system.readers
    else:
        system = uf.System(classifier, {"read": defense.read})
        reader = "read"
    result: AttackResult = preset("auto", eps=EPS, budget=BUDGET, targeted=False)(system, images, labels, ids=ids)
    assert result.prediction_only is not None
    alone, noise = result.controls[result.prediction_only], result.controls["noise"]
    for place, image in enumerate(ids):
        yield {
            "image": image,
            "correct": int(result.correct_before[place]),
            "success": int(result.success[place]),
            "map_l1": float(result.map_l1[reader][place]),
            "success_alone": int(alone.success[place]),
            "map_l1_alone": float(alone.map_l1[reader][place]),
            "map_l1_noise": float(noise.map_l1[reader][place]),
            "limit": float(result.map_limit[reader][place]),
        }


def quality(defense: Defense, data: uf.data.ImageData) -> Iterator[dict[str, object]]:
    """Keep, and delete, the half of each image that the map finds most important, beside a random half.

    A random half is that of a random map of the same resolution. What is taken away becomes the image's mean colour.
    """
    classifier = defense.classifier()
    images, labels, names = images_of(data, classifier, QUALITY)
    ids = randomness.identify(images, names)
    right = classifier.logits(images).argmax(1) == labels
    maps = defense.read.maps(classifier, images, labels, ids=ids)
    drawn = randomness.uniform(0, ids, "random maps", 0, maps.shape[1:]).to(maps.dtype)
    fill, found = images.mean((2, 3), keepdim=True), {"correct": right}
    for kind, each in (("", maps), ("_random", drawn)):
        large = F.interpolate(each.unsqueeze(1), images.shape[2:], mode="bilinear", align_corners=False).squeeze(1)
        inside = metrics.most_important(large, 0.5).unsqueeze(1)
        for name, left in (("kept", inside), ("deleted", ~inside)):
            found[name + kind] = classifier.logits(torch.where(left, images, fill)).argmax(1) == labels
    for place, image in enumerate(names):
        yield {"image": image, **{name: int(values[place]) for name, values in found.items()}}


def cost(defense: Defense, data: uf.data.ImageData, pairs: int = 5) -> dict[str, object]:
    """Measure the time of a map, and of an attacker's step, over those of CAM without a defense."""
    plain = uf.classifiers.load(CLASSIFIER)
    images, labels, _ = images_of(data, plain, 8)
    cam, classifier = uf.interpreters.create("cam"), defense.classifier()
    made = take_turns(
        lambda: defense.read.maps(classifier, images, labels), lambda: cam.maps(plain, images, labels), pairs
    )
    runs = []
    for network, interpreters in ((classifier, defense.attacked or (defense.read,)), (plain, (cam,))):
        system = uf.System(network, {str(place): each for place, each in enumerate(interpreters)})
        built = replace(preset("auto", eps=EPS, budget=4, targeted=False).build(system), early_stop=None)
        runs.append((built, system.view(), read_benign(system, images, labels)))
    step = take_turns(lambda: run_on(*runs[0]), lambda: run_on(*runs[1]), pairs)
    return {"map": made.summary()["ratio"], "step": step.summary()["ratio"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="test.parquet", help="CIFAR-10's test images")
    parser.add_argument("--out", type=Path, default=ROWS, help="the folder of the results")
    parser.add_argument("--aid", default="rts-aid-cifar10-resnet20", help="a masker of 'underfire train aid'")
    parser.add_argument("--only", nargs="*", default=[""], help="beginnings of names, such as ensemble")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no row after so many minutes")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--print", action="store_true", dest="show")
    parser.add_argument("--page", action="store_true", help="write the tables into docs/defenses.md")
    asked = parser.parse_args()
    if asked.threads:
        torch.set_num_threads(asked.threads)
    started = time.monotonic()
    rows = () if asked.show or asked.page else board(asked.aid)
    data = None if asked.show or asked.page else uf.data.open_data(asked.data)
    for defense in rows:
        assert data is not None
        for kind in ("attack", "quality", "cost"):
            path = asked.out / f"{defense.name}-{kind}.csv"
            late = time.monotonic() - started > 60 * asked.minutes
            if path.exists() or late or not defense.name.startswith(tuple(asked.only)):
                continue
            if kind == "cost":
                write(path, [cost(defense, data)])
            else:
                write(path, list((attack if kind == "attack" else quality)(defense, data)))
            print(defense.name, kind, f"{(time.monotonic() - started) / 60:.1f} minutes", flush=True)
    text = defense_tables.tables(asked.out)
    print(text)
    if asked.page:
        defense_tables.put_between(BEGIN, END, text)


if __name__ == "__main__":
    main()
