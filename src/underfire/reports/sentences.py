"""The first paragraph of a page: what was attacked, and what held."""

from __future__ import annotations

from collections.abc import Sequence

from underfire.reports.account import Account, Interval
from underfire.reports.words import goal, listed, on_prediction_alone, percent, with_interval
from underfire.text import first_few, plain

NAMED = 3
"""With more shares, a sentence names only the lowest and the highest."""


def names_of(accounts: Sequence[Account]) -> list[str]:
    """List the things in which attacks differ, of ``attack``, ``classifier`` and ``folder``."""
    parts = {
        "attack": {account.part.attack for account in accounts},
        "classifier": {account.part.classifier for account in accounts},
    }
    found = [name for name, values in parts.items() if len(values) > 1]
    known = [name_of(account, asked, found) for account in accounts for _, asked in account.headlines]
    return [*found, "folder"] if len(set(known)) < len(known) else found


def name_of(account: Account, asked: str | None, differ: Sequence[str]) -> str:
    """Name an attack on one interpreter, as briefly as the others on the page allow.

    Args:
        account: the attack.
        asked: the interpreter; None for all at once.
        differ: the result of ``names_of``.
    """
    part = account.part
    reader = asked in part.readers
    read = " and ".join(map(plain, part.attacked)) if asked is None else plain(asked)
    read += " at once" if asked is None and len(part.attacked) > 1 else ", not attacked" if reader else ""
    own = {"attack": plain(part.attack), "classifier": part.classifier, "folder": plain(account.run.name)}
    return ", ".join([read, *(own[name] for name in differ)])


def sentences(accounts: Sequence[Account]) -> str:
    """Write the first paragraph of a page.

    It names the attack, the classifier and the number of images, the share of images that were fooled with the map
    kept, the same share for the control, and the share that chance would give.

    Args:
        accounts: the attacks on the page.
    """
    differ = names_of(accounts)
    # With several interpreters in one attack, the share counts the images that were fooled for all of them at once.
    pairs = [(account, account.headlines[0][1]) for account in accounts]
    shares = [(name_of(account, asked, differ), account.joint("attack", asked)) for account, asked in pairs]
    beside = [account.joint("control", asked) for account, asked in pairs if account.part.has("control")]
    did = "It" if _one(accounts) else "They"
    happened = "The class was reached, and the map was as wanted all the same, on" if _alone(accounts) else None
    text = [_attempt(accounts), f"{happened or f'{did} did both on'} {_each(shares)}."]
    known = [share["mean"] for share in beside if share["mean"] is not None]
    if known:
        controls = dict.fromkeys(plain(account.part.control) for account in accounts if account.part.has("control"))
        said = listed([percent(share) for share in known]) if len(known) <= NAMED else _range(known)
        said = _range(known) if len(set(map(percent, known))) == 1 else said
        text.append(f"The attack on the prediction alone ({first_few(list(controls))}) did both on {said}.")
    elif not any(map(on_prediction_alone, accounts)):
        text.append("No attack on the prediction alone was run to compare with.")
    found = [account.chance(name)["other_map"]["mean"] for account in accounts for name in account.part.attacked]
    chances = [share for share in found if share is not None]
    if chances:
        passes = "the benign map of another image" if _keep(accounts) != {True} else "the map of another image"
        text.append(f"By chance, {passes} would pass in {_range(chances)} of cases.")
    return " ".join(text)


def _attempt(accounts: Sequence[Account]) -> str:
    attacks = list(dict.fromkeys(plain(account.part.attack) for account in accounts))
    classifiers = list(dict.fromkeys(account.part.classifier for account in accounts))
    goals = list(dict.fromkeys(goal(account) for account in accounts))
    counts = sorted({account.attacked for account in accounts})
    number = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    who = listed(attacks) if len(attacks) <= NAMED else f"{len(attacks)} attacks"
    which = listed(classifiers) if len(classifiers) <= NAMED else f"{len(classifiers)} classifiers"
    predicted = any(account.run.predicted_labels for account in accounts)
    right = f" as {which} saw it" if predicted else f", which {which} had classified correctly"
    into = goals[0] if len(goals) == 1 else "another one"
    aims = {True: "keep the explanation as it was", False: "show the explanation that it chose"}
    joint = [account for account in accounts if not on_prediction_alone(account)]
    aim = ", or ".join(aims[keeps] for keeps in sorted(_keep(joint), reverse=True))
    alone = [name for name in attacks if name not in {plain(account.part.attack) for account in joint}]
    ignored = ""
    if alone:
        looked = "It" if _one(accounts) else "They" if not joint else listed(alone) if len(alone) <= NAMED else "Some"
        ignored = f" {looked} did not look at the explanation."
    of_others = f", and{'' if not alone else ', but for attacks on the prediction alone,'} to {aim}" if joint else ""
    return (
        f"{who} {'tried' if _one(accounts) else 'each tried'} to change the class of {number} "
        f"image{'' if number == '1' else 's'}{right}, into {into}{of_others}.{ignored}"
    )


def _one(accounts: Sequence[Account]) -> bool:
    return len({account.part.attack for account in accounts}) == 1


def _alone(accounts: Sequence[Account]) -> bool:
    return all(map(on_prediction_alone, accounts))


def _keep(accounts: Sequence[Account]) -> set[bool]:
    return {account.part.keeps for account in accounts}


def _each(shares: Sequence[tuple[str, Interval]]) -> str:
    """Write up to three shares with their names, or the lowest and the highest."""
    if len(shares) <= NAMED:
        return listed([f"{with_interval(share)} ({name})" for name, share in shares])
    by_share = sorted(shares, key=lambda named: named[1]["mean"] or 0.0)
    return " to ".join(f"{with_interval(share)} ({name})" for name, share in (by_share[0], by_share[-1]))


def _range(shares: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys((percent(min(shares)), percent(max(shares)))))
