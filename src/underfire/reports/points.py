"""The page's chart of success by map distance, and the groups of attacks in the legends of crowded charts."""

from __future__ import annotations

from collections.abc import Sequence

from underfire.reports.account import Account, Interval
from underfire.reports.chart import COLOURS, ROLES
from underfire.reports.dots import Dot, Dots
from underfire.reports.sentences import names_of
from underfire.text import plain


def trade_off_chart(accounts: Sequence[Account]) -> Dots:
    """Make the chart of success by map distance: a point for each attack and control, as each interpreter reads it."""
    dots = []
    differ = names_of(accounts)
    several = len({name for account in accounts for name in account.part.interpreters}) > 1
    attacks = {account.part.attack for account in accounts}
    legend, groups = ("interpreter", {}) if several else legend_groups(accounts)
    known = set()
    for account in accounts:
        for interpreter in account.part.interpreters:
            for role in ("attack", *ROLES):
                if not account.part.has(role):
                    continue
                key = (id(account.run), account.part.labels[role], interpreter)
                if key in known:
                    continue  # a control that several attacks of the run share
                known.add(key)
                found = account.group(role, interpreter)
                x: Interval = found["map_l1" if account.part.keeps else "map_l1_target"]
                y: Interval = found["success"]
                if x["mean"] is None or y["mean"] is None:
                    continue
                more = {"classifier": account.part.classifier, "folder": plain(account.run.name)}
                shown = [plain(interpreter)] if several else []
                name = ", ".join([plain(account.part.names[role]), *shown, *(more[n] for n in differ if n in more)])
                at, low, high = ((x[key], y[key]) for key in ("mean", "low", "high"))
                about = account.about(interpreter)
                if role != "attack":
                    del about["attack"]  # it may stand beside several attacks
                group = plain(interpreter) if several else groups[id(account)]
                label = plain(account.part.attack) if role == "attack" and several and len(attacks) > 1 else ""
                dots.append(Dot(name, role, at, low, high, y["n"], about, group, label))
    return Dots(
        title="Success by map distance",
        about="Each point is one attack, filled; its control, the attack on the prediction alone, hollow; or random "
        "noise, a cross. The bars are 95 % intervals. The stronger a joint attack, the nearer it is to the upper left "
        "corner: the class reached on every image, and no map moved.",
        x_title="mean map distance",
        y_title="class reached",
        dots=dots,
        legend=legend,
    )


def legend_groups(accounts: Sequence[Account]) -> tuple[str, dict[int, str]]:
    """Divide attacks into groups with one colour each, for charts that are too crowded for a name at every curve.

    If there are more attacks than colours, they are divided by the first thing in which they differ that needs no more
    colours than there are: the attack, the attacked interpreters, the classifier. If each needs more, the first thing
    in which they differ counts.

    Returns:
        The name of that thing (empty if every attack is a group), and the group of each account by its ``id``.
    """
    things = {
        "attack": [plain(account.part.attack) for account in accounts],
        "interpreter": [" + ".join(map(plain, account.part.attacked)) for account in accounts],
        "classifier": [account.part.classifier for account in accounts],
    }
    differ = [name for name, values in things.items() if len(set(values)) > 1]
    few = [name for name in differ if len(set(things[name])) <= COLOURS]
    chosen = (few or differ or ["attack"])[0]
    values = things[chosen]
    if len(accounts) <= COLOURS:
        folders = [[plain(account.run.name)] if "folder" in names_of(accounts) else [] for account in accounts]
        named = zip(*(things[name] for name in differ or ["attack"]), strict=True)
        chosen, values = "", [", ".join([*each, *folder]) for each, folder in zip(named, folders, strict=True)]
    return chosen, {id(account): name for account, name in zip(accounts, values, strict=True)}
