"""A setting that came later does not change the description of parts that leave it at its default."""

from __future__ import annotations

from dataclasses import dataclass, field

from underfire.later import repr_without


@dataclass(frozen=True)
class Part:
    first: str = "a"
    hidden: int = field(default=3, repr=False)
    new: float | None = None

    def __repr__(self) -> str:
        return repr_without(self, "new")


@dataclass(frozen=True, repr=True)
class Before:
    first: str = "a"
    hidden: int = field(default=3, repr=False)


def test_it_is_left_out_only_at_its_default() -> None:
    assert repr(Part("b")).replace("Part", "Before") == repr(Before("b"))
    assert repr(Part(new=0.5)) == "Part(first='a', new=0.5)"
