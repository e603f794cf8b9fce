"""The head of a page: one paragraph, one picture, and one comparison of the interpreters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from underfire.drawing.pictures import Pixels, fitted, overlay
from underfire.reports.account import Account, Interval
from underfire.reports.document import Block
from underfire.reports.outline import draw_outline
from underfire.reports.sentences import name_of, names_of, sentences
from underfire.reports.thumbnails import data_uri
from underfire.reports.words import FEW_IMAGES, doubts, points, with_interval
from underfire.runs.comparison import Case
from underfire.text import counted, first_few, plain

SIDE = 256
"""The size of the picture's tiles in pixels."""
FEW = 3
"""With more comparisons, the bars are fewer and their texts shorter."""
MOST = 6
"""The largest number of comparisons that the page begins with. The table has all."""


@dataclass(frozen=True)
class Bar:
    """A share with its interval. ``low``, ``mean`` and ``span`` are in percent, for the drawing."""

    name: str
    kind: str
    share: str
    bounds: str
    low: str
    mean: str
    span: str


@dataclass(frozen=True)
class BarGroup:
    """The bars of one attack and one interpreter, with reasons for doubt and the lead over the control as texts."""

    title: str
    bars: tuple[Bar, ...]
    lead: str
    caution: str


@dataclass(frozen=True)
class Tile:
    """One picture with a caption, as a data URI."""

    source: str
    title: str
    note: str
    alt: str


@dataclass(frozen=True)
class Picture:
    """One image before and after the attack, with its maps. ``about`` says how it was chosen."""

    tiles: tuple[Tile, ...]
    about: str
    small: bool


@dataclass(frozen=True)
class Summary(Block):
    """The head of a page.

    Args:
        title: the page's heading.
        text: what was attacked, and what held.
        picture: one image; None if there is none.
        question: the heading of the bars.
        groups: the bars.
        caution: a reason to doubt all numbers; may be empty.
        more: the number of comparisons that are left out.
        n: the numbers of images, in words: "8 images", "8 to 20 images".
    """

    name: ClassVar[str] = "summary"

    title: str
    text: str
    picture: Picture | None
    question: str
    groups: tuple[BarGroup, ...]
    caution: str
    more: int
    n: str


def summary(title: str, accounts: Sequence[Account]) -> Summary:
    """Make the head of a page of one or more attacks.

    Args:
        title: the page's heading.
        accounts: the attacks with their controls.
    """
    pairs = [(account, asked) for account in accounts for _, asked in account.headlines]
    names = names_of(accounts)
    counts = sorted({account.attacked for account in accounts})
    kept = next((account for account in accounts if account.part.keeps), accounts[0]).wording
    return Summary(
        title=title,
        text=sentences(accounts),
        picture=picture(accounts),
        question=f"Class reached and {kept.map} {kept.done}",
        groups=tuple(_group(account, asked, names, len(pairs) > FEW) for account, asked in pairs[:MOST]),
        caution=_on_few(accounts),
        more=max(len(pairs) - MOST, 0),
        n=counted(counts[0], "image") if len(counts) == 1 else f"{counts[0]} to {counts[-1]} images",
    )


def _on_few(accounts: Sequence[Account]) -> str:
    """Say that intervals are wide because there are few images, and where, if that is not everywhere."""
    few = [account for account in accounts if account.attacked < FEW_IMAGES]
    if not few:
        return ""
    number = counted(min(account.attacked for account in few), "image")
    if len(few) == len(accounts):
        return f"Only {number}: every interval is wide."
    names = list(dict.fromkeys(plain(account.run.name) for account in few))
    return f"Only {number} in {first_few(names)}: intervals there are wide."


def _group(account: Account, asked: str | None, names: Sequence[str], short: bool) -> BarGroup:
    part = account.part
    title = name_of(account, asked, names)
    bars = [bar(title if short else plain(part.attack), "attack", account.joint("attack", asked))]
    if part.has("control"):
        bars.append(bar(f"{plain(part.control)}, prediction only", "control", account.joint("control", asked)))
    if not short and (asked is not None or len(part.attacked) == 1):
        found = account.chance(asked or part.attacked[0])
        if found["other_map"]["mean"] is not None:
            bars.append(bar("chance: another image's map", "chance", found["other_map"]))
    lead, said = account.lead(asked), doubts(account, asked)
    return BarGroup(
        title="" if short else title,
        bars=tuple(bars),
        lead="" if lead is None or short else points(lead),
        caution="; ".join(doubt.removesuffix(" from the prediction-only attack") if short else doubt for doubt in said),
    )


def bar(name: str, kind: str, interval: Interval) -> Bar:
    """Make the bar of a share.

    Args:
        name: the text beside it.
        kind: ``attack``, ``control`` or ``chance``, which sets the colour.
        interval: keys ``mean``, ``low`` and ``high``, in [0, 1].
    """
    mean, low, high = (100 * (interval[key] or 0.0) for key in ("mean", "low", "high"))
    share, _, bounds = with_interval(interval).partition(" [")
    between = bounds.removesuffix("]").replace(", ", "–")
    return Bar(name, kind, share, between, f"{low:.1f}", f"{mean:.1f}", f"{high - low:.1f}")


def picture(accounts: Sequence[Account]) -> Picture | None:
    """Draw one image of the comparison with the most joint success: clean, adversarial, and its two maps.

    It is the middle one of the images with joint success, by map distance. Without joint success, it is the middle one
    of the images whose class was reached, or else of all.

    Args:
        accounts: the attacks; those without an attacked image are left out.
    """
    pairs = [(account, name) for account in accounts if account.attacked for name in account.part.attacked]
    if not pairs:
        return None
    account, name = max(pairs, key=lambda pair: pair[0].joint("attack", pair[1])["mean"] or 0.0)
    part, kept = account.part, account.wording
    joint, reached = part.joint("attack", name), part.column("attack", name, "success")
    distances = part.distances(name).tolist()
    everything = range(len(distances))
    said, among = next(
        (text, places)
        for text, places in (
            (f"A typical success: class reached, {kept.map} {kept.done}.", [i for i in everything if joint[i]]),
            (f"A typical case: class reached, but {kept.map} not {kept.done}.", [i for i in everything if reached[i]]),
            ("A typical case: the class was not reached.", list(everything)),
        )
        if places
    )
    order = sorted(among, key=lambda i: (distances[i], i))[len(among) // 2]
    case = part.case(name, order)
    place = f"the middle one of {len(among)} by map distance" if len(among) > 1 else "the only one"
    about = f"{said} It is {place} ({plain(part.attack)}, {plain(name)}). Yellow matters most."
    return Picture(tuple(_tiles(account, case)), about, max(part.image(case.row).shape[:2]) <= 96)


def _tiles(account: Account, case: Case) -> list[Tile]:
    part, row = account.part, case.row
    label, target, after = part.class_name(row["label"]), part.class_name(row["target"]), part.becomes(row)
    after += "" if row["untargeted_success"] else f" still, not as {target}"
    clean, changed = part.image(case.rows["clean"]), part.image(row)
    limit = float(part.limits[case.interpreter].values[case.order])
    first = ("benign map", "clean", part.map("clean", case.interpreter, case.image_id), "what the analyst expects")
    wanted = part.wanted(case.interpreter, case.image_id)
    if wanted is not None:
        first = ("wanted map", "clean", wanted, "what the attack wants")
    attacked = part.map("attack", case.interpreter, case.image_id)
    maps = [first, ("map under attack", "attack", attacked, f"distance {case.distance:.3f}, limit {limit:.3f}")]
    tiles = [
        Tile(data_uri(clean), "clean", f"classified as {label}", f"clean image of class {label}"),
        Tile(data_uri(changed), "adversarial", f"classified as {after}", f"adversarial image, classified as {after}"),
    ]
    mask = part.mask(case.image_id)
    for title, role, values, note in maps:
        drawn: Pixels = overlay(fitted(part.image(case.rows[role]), SIDE), values)
        drawn = drawn if mask is None else draw_outline(drawn, mask)
        tiles.append(Tile(data_uri(drawn), title, note, f"{title} of {plain(case.interpreter)}: {note}"))
    return tiles
