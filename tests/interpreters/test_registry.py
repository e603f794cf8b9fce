"""Interpreters by name: shipped ones, entry points and files; and the families whose schedules they use."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import pytest
import torch

import underfire as uf
from tests.conftest import smooth_images
from tests.interpreters.rts.makers import pyramid
from underfire import attacks, registry
from underfire.attacks.rows import row_for
from underfire.errors import InputError, UserCodeError
from underfire.interpreters import CAM, LRP, MASK, REGISTRY, RTS, Captum, Grad, canonical, create, named
from underfire.interpreters.rts import Masker

FILE = """
from dataclasses import dataclass
from typing import ClassVar

from underfire.interpreters import CAM, Grad


@dataclass(frozen=True)
class Mine(CAM):
    name: ClassVar[str] = "mine: a/b c"
    family: ClassVar[str] = "new"


def build():
    return Grad(pool=1)


made = Grad(pool=2)
wrong = 3


def fails():
    raise ZeroDivisionError("no")


def makes_text():
    return "cam"
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "my_interp.py"
    path.write_text(FILE)
    return str(path)


def test_a_file_offers_a_class_an_object_or_a_function(file: str) -> None:
    assert create(f"{file}:Mine").label == "mine: a/b c"
    assert create(f"{file}:build") == Grad(pool=1)
    assert create(f"{file}:made") == Grad(pool=2)
    assert canonical(f"{file}:Mine") == f"{file}:Mine"
    assert list(named([f"{file}:build", "cam"])) == ["grad", "cam"]
    assert list(named([f"{file}:build", "grad"])) == [f"{file}:build", "grad"], "two of one kind"


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("wrong", InputError, "an object of type int; expected a subclass of Interpreter"),
        ("fails", UserCodeError, "ZeroDivisionError: no"),
        ("makes_text", InputError, "makes an object of type str; expected an Interpreter"),
        ("Nine", InputError, "Did you mean 'Mine'"),
    ],
)
def test_a_file_that_offers_anything_else_is_refused(file: str, name: str, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        create(f"{file}:{name}")


def test_an_installed_package_offers_interpreters(monkeypatch: pytest.MonkeyPatch, classifier: uf.Classifier) -> None:
    point = EntryPoint("theirs", f"{__name__}:Theirs", "underfire.interpreters")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == point.group else [])
    assert create("theirs") == Theirs()
    assert create("Theirs") == Theirs()
    assert "theirs" in list(REGISTRY)
    assert uf.System(classifier, "theirs").interpreters == {"theirs": Theirs()}


@dataclass(frozen=True)
class Theirs(CAM):
    name: ClassVar[str] = "theirs"
    family: ClassVar[str] = "attention"


def test_arguments_after_a_colon() -> None:
    assert create("lrp:z+") == LRP("z+")
    assert create("mask:older") == MASK.older()
    assert create("rts:my,folder:x") == RTS("my,folder:x")
    assert create("captum:Lime") == Captum("Lime")
    assert create("grad", "published") == Grad(view_pixels="normalised")
    for name in ("cam:x", "grad:1", "captum"):
        with pytest.raises(InputError, match="after a colon"):
            create(name)


def test_a_masker_of_the_users_code(tmp_path: Path) -> None:
    file = tmp_path / "masks.py"
    file.write_text(
        "from underfire.interpreters.rts import Masker\n"
        "from underfire.interpreters.rts.network import Shape\n"
        "def new(): return Masker(Shape(classes=4, top=24, skips=(16, 16)))\n"
        "def wrong(): return 3\n"
    )
    name = f"rts:{file}:new"
    assert canonical(name) == name
    made = create(name)
    assert isinstance(made, RTS)
    assert isinstance(made.masker, Masker)
    maps = made.maps(pyramid(), smooth_images(32, 32)[:2], [0, 1])
    assert maps.shape == (2, 16, 16)
    with pytest.raises(InputError, match=r"wrong', which returns an object of type int; expected a function"):
        create(f"rts:{file}:wrong")
    with pytest.raises(InputError, match=r"masker file '.*no\.py' does not exist"):
        create(f"rts:{tmp_path / 'no.py'}:new")
    with pytest.raises(InputError, match="cam takes nothing after a colon"):
        create(f"cam:{file}:new")


@pytest.mark.parametrize("name", REGISTRY)
def test_every_interpreter_ends_at_a_published_family(name: str) -> None:
    families = create(name).families()
    assert families[0] == create(name).family
    assert families[-1] == "cam"
    published = "cam" if families[0] == "attention" else families[0]  # no paper attacks maps of attention
    for part in attacks.PERTURBATIONS.values():
        assert row_for(part.rows, families, part.name, name) == part.rows[published], "its own family has a row"


def test_names_change_no_random_number(classifier: uf.Classifier, images: torch.Tensor, labels: torch.Tensor) -> None:
    """A reader of its kind renames the attacked interpreter. Patches as target maps draw noise for each interpreter."""
    attack = attacks.preset("adv2", eps=0.1, steps=(1, 3), target_map="patch")
    alone = attack(uf.System(classifier, "lrp:z+"), images, labels)
    beside = uf.System(classifier, "lrp:z+", readers="lrp")
    assert list(beside.interpreters) == ["lrp:z+", "lrp"]
    renamed = uf.System(classifier, {"mine": LRP("z+")})
    for system, name in ((beside, "lrp:z+"), (renamed, "mine")):
        again = attack(system, images, labels)
        assert torch.equal(again.adversarial, alone.adversarial)
        assert torch.equal(again.maps[name], alone.maps["lrp"])
        assert torch.equal(again.map_l1[name], alone.map_l1["lrp"])


def test_names_in_any_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("input-x-Gradient", f"{__name__}:Theirs", "underfire.interpreters")
    function = EntryPoint("made", f"{__name__}:make_theirs", "underfire.interpreters")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point, function] if group == point.group else [])
    for name in ("input-x-Gradient", "Input_X_gradient", "inputxgradient"):
        assert canonical(name) == "input-x-Gradient"
        assert create(name, "published") == Theirs()
    assert canonical("Grad-CAM") == "gradcam"
    for name in ("input-x-gradient:1", "made:1"):
        with pytest.raises(InputError, match="takes nothing after a colon"):
            create(name)


def make_theirs() -> CAM:
    return Theirs()


def test_a_new_family_falls_back_to_its_parents(classifier: uf.Classifier, images: torch.Tensor) -> None:
    assert Theirs().families() == ("attention", "cam")
    built = attacks.preset("adv2", eps=0.1).build(uf.System(classifier, Theirs()))
    expected = attacks.preset("adv2", eps=0.1).build(uf.System(classifier, CAM()))
    assert [stage.steps for stage in built.stages] == [stage.steps for stage in expected.stages] == [400, 1200]
    with pytest.raises(InputError, match="no schedule for new"):
        row_for({"mask": attacks.PGD.rows["mask"]}, ("attention",), "mine", "new")


class Nameless(uf.interpreters.Interpreter):
    def read(self, *given: object, **named: object) -> torch.Tensor:
        raise NotImplementedError

    def view(self, *given: object, **named: object) -> uf.interpreters.View:
        raise NotImplementedError


@dataclass(frozen=True)
class Blank(CAM):
    name: ClassVar[str] = " "


@pytest.mark.parametrize("kind", [Nameless, Blank])
def test_an_interpreter_without_a_name_is_refused(kind: type[uf.interpreters.Interpreter]) -> None:
    """Regression: it was a bare AttributeError, or a column of results without a heading."""
    Nameless.__abstractmethods__ = frozenset()
    with pytest.raises(
        InputError, match=f"holds a {kind.__name__} with the label .*: give its class the attribute name"
    ):
        named([kind()])


@dataclass(frozen=True)
class Kinless(uf.interpreters.Interpreter):
    name: ClassVar[str] = "kinless"

    def read(self, classifier: uf.Classifier, images: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
        return images.mean(1)

    def view(self) -> uf.interpreters.View:
        return CAM().view()


def test_an_attack_on_an_interpreter_without_a_family_is_refused(classifier: uf.Classifier) -> None:
    """Regression: "unexpected AttributeError: ... please report it" when the attack looked for its schedule."""
    system = uf.System(classifier, [Kinless()])
    assert system.maps(smooth_images(2), torch.tensor([0, 1]))["kinless"].shape == (2, 16, 16)
    with pytest.raises(InputError, match=r"kinless has the family None; .*give its class the attribute family"):
        attacks.preset("adv2").build(system)
