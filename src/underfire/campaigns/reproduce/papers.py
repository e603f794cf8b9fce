"""The tables, figures, runs and claims of a paper, read from the files in ``papers/``."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from underfire.errors import InputError, unknown_name

FILES = Path(__file__).parent / "papers"

PREDICTION_ONLY = "prediction-only"
"""The name of the attack on the prediction alone in tables and claims, whatever its perturbation is."""

KEYS = ("classifier", "perturbation", "attack", "interpreter", "reader", "defense")
"""The names of the values that identify a finding in tables.

The interpreter is the attacked one, the reader the one that shows the map, or the detector that scores the image. The
defense is empty in findings that are not about defenses. In these, the perturbation is the size of the input's change.
"""

NO_DEFENSE, CONTROL, TRAINED = "none", "normal", "trained"
"""The defense of what stands beside a defense, that of the same training without one, and the word for any trained one
in claims and published numbers."""

DEFENSES = {
    "aid": "'underfire train aid --classifier NAME --data DATA --out defenses/aid' trains a masker; then give "
    "--defended rts:defenses/aid",
    "robust": "'underfire train robust --classifier NAME --data DATA --out defenses/robust' trains a classifier; then "
    "give --defended defenses/robust/NAME-robust.safetensors",
}
"""The trained defenses that items need, with the command that trains one."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Group(_Model):
    """Runs that belong together: every combination of these values.

    Args:
        attack: names of attacks.
        perturbation: names of perturbations.
        target_map: names of target maps.
        interpreter: only this interpreter is attacked, with each of its files, defended ones too: ``rts``. All
            interpreters if empty.
    """

    attack: tuple[str, ...]
    perturbation: tuple[str, ...] = ("pgd",)
    target_map: tuple[str, ...] = ("benign",)
    interpreter: str = ""

    def attacks_on(self, interpreter: str) -> bool:
        """Return True if the group has runs on an interpreter: ``rts`` or ``rts:FOLDER``."""
        return self.interpreter in ("", interpreter.partition(":")[0])

    def has(self, attack: str, perturbation: str, target_map: str) -> bool:
        """Return True if a run with these values belongs to the group."""
        return attack in self.attack and perturbation in self.perturbation and target_map in self.target_map


class Item(_Model):
    """A table or figure of a paper.

    Args:
        name: its name in the paper, such as ``table3``; or a word, if the paper has nothing like it.
        title: what it shows.
        kind: ``numbers``; ``transfer``, which is numbers of interpreters that were not attacked; ``outliers``, which is
            correlations; ``detection``, which is numbers of detectors; ``defense``, which is numbers of
            defenses; ``pictures``, or ``transfer-pictures``.
        runs: the names of the groups of runs that it shows.
        attacks: show only these joint attacks.
        measures: the names of the quantities that it shows.
        rows, columns: the keys that name rows and columns of its table.
        controls: show the attack on the prediction alone, too.
        chart: draw the numbers, too.
        detectors: the names of detectors.
        together: the number of interpreters that each detector reads: there is one for each choice of so many. 0 for
            detectors that read none.
        defense: a key of ``DEFENSES``, if the item needs a trained defense.
        inputs: the names of the inputs on which a defense is measured; see ``defending``.
        sizes: how large the change of these inputs is: radii (``8/255``), or shares of wrong images (``3 %``).
    """

    name: str
    title: str
    kind: Literal["numbers", "transfer", "outliers", "detection", "defense", "pictures", "transfer-pictures"] = (
        "numbers"
    )
    runs: tuple[str, ...] = ()
    attacks: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    controls: bool = True
    chart: bool = False
    detectors: tuple[str, ...] = ()
    together: int = 0
    defense: Literal["", "aid", "robust"] = ""
    inputs: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()

    @property
    def transferred(self) -> bool:
        """True if interpreters that were not attacked have to read the images."""
        return self.kind.startswith("transfer")

    @property
    def own_only(self) -> bool:
        """True if the item shows only what the attacked interpreters read themselves."""
        return not self.transferred and self.kind != "detection"

    @property
    def heading(self) -> str:
        """The name as the paper writes it: ``Table 3``."""
        word, number = self.name.rstrip("0123456789"), self.name.lstrip("abcdefghijklmnopqrstuvwxyz")
        return f"{word.capitalize()} {number}".strip()


class Claim(_Model):
    """A claim of a paper that can be judged: a comparison of two sides, or of one side with a number.

    Args:
        name: a short name.
        item: the table or figure whose runs it is judged on.
        text: the claim, in a sentence.
        measure: the quantity that is compared.
        first: keys of a finding of the first side. The reader is the attacked interpreter, unless ``reader`` is
            ``other`` (any other one, or a detector).
        second: keys of the second side; all further keys are those of the first side. ``interpreter = "other"`` is any
            other attacked interpreter; ``reader = "part"`` is a detector that reads only some of the interpreters.
            None if the first side is compared with ``margin``.
        test: how the two sides must differ; see ``judging.TESTS``.
        margin: what the test allows or demands.
    """

    name: str
    item: str
    text: str
    measure: str
    first: dict[str, str]
    second: dict[str, str] | None = None
    test: str
    margin: float = 0.0


class Paper(_Model):
    """A paper.

    Args:
        name: its short name.
        title, source: its title, and its authors and place.
        published_on: data and classifiers of the published numbers.
        runs: the groups of runs by name.
        items: its tables and figures.
        elsewhere: tables and figures that are not made, with the reason.
        claims: what it claims.
    """

    name: str
    title: str
    source: str
    published_on: str
    runs: dict[str, Group]
    items: tuple[Item, ...]
    elsewhere: dict[str, str] = Field(default_factory=dict)
    claims: tuple[Claim, ...]

    def chosen(self, names: Sequence[str] = ()) -> list[Item]:
        """Return the items with these names, in the paper's order; all if there are no names.

        Raises:
            InputError: there is no such table or figure, or it is not made.
        """
        known = {item.name: item for item in self.items}
        for name in names:
            if name in self.elsewhere:
                raise InputError(f"{name} of {self.name} is not made: {self.elsewhere[name]}.")
            if name not in known:
                raise unknown_name("item", name, [*known, *self.elsewhere])
        return [item for item in self.items if not names or item.name in names]


def paper_names() -> list[str]:
    """List the names of the papers."""
    return sorted(path.stem for path in FILES.glob("*.toml"))


@cache
def paper(name: str) -> Paper:
    """Read what a paper shows and claims.

    Raises:
        InputError: there is no such paper.
    """
    if name not in paper_names():
        raise unknown_name("paper", name, paper_names())
    content: dict[str, Any] = tomllib.loads((FILES / f"{name}.toml").read_text(encoding="utf-8"))
    return Paper.model_validate({"name": name} | content)
