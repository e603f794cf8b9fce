"""A run's summary as a table for an 80-column terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from underfire.attacks import KINDS

_COLUMNS = (
    ("joint", "joint_success", "other class and kept map"),
    ("success", "success", "other class"),
    ("map L1", "map_l1", "distance from the benign map"),
    ("IoU", "map_iou", "overlap with it"),
    ("1-SSIM", "ssim", "how visible the change is"),
)
"""Head, column and meaning."""
# In the place of map L1 where another map than the benign one was wanted, and in that of IoU where the data know the
# object's true mask: does the map still peak on the object?
_REACHED = ("joint", "joint_success", "other class and wanted map")
_TO_TARGET = ("to target", "map_l1_target", "distance from the wanted map")
_OVERLAP = ("IoU", "map_iou", "overlap with the benign map")
_POINTING = ("peak on it", "map_peak_inside", "the map is highest on the object")
_NUMBERS = 11  # characters: 0.000-0.000
_NAMES = 80 - len(_COLUMNS) * (_NUMBERS + 1)


def _cell(interval: Mapping[str, Any], complement: bool = False) -> str:
    if interval["mean"] is None:
        return "-"
    values = [interval[key] for key in ("mean", "low", "high")]
    if complement:
        values = [1 - interval[key] for key in ("mean", "high", "low")]
    mean, low, high = (round(value, 3) + 0.0 for value in values)  # + 0.0: never "-0.000"
    return f"{mean:.3f}\n{low:.3f}-{high:.3f}"


def summary_table(*summaries: Mapping[str, Any]) -> Group:
    """One or more runs: joint success first, then a table per interpreter with a row per attack, the controls too."""
    columns = list(_COLUMNS)
    if any(summary.get("target_map", "benign") != "benign" for summary in summaries):
        columns[0], columns[2], columns[3] = _REACHED, _TO_TARGET, _OVERLAP
    if all(_pointing_known(summary) for summary in summaries):
        columns[3] = _POINTING
    parts: list[Text | Table] = []
    for summary in summaries:
        if "joint_success_all" in summary:
            parts.append(_at_once(summary))
        for name, interval in summary["joint_success"].items():
            line = Text("Joint success: ").append(_percent(interval), style="bold")
            verb = "kept their" if summary.get("target_map", "benign") == "benign" else "showed the wanted"
            line.append(f" of {interval['n']} images got another class from {summary['attack']} and {verb} ")
            read = name in summary.get("readers", ())
            line.append(name, style="bold").append(" map, which was not attacked." if read else " map.")
            parts.append(line)
    every = [
        (summary, name, group["attacks"]) for summary in summaries for name, group in summary["interpreters"].items()
    ]
    width = min(_NAMES, max(len(attack) for _, _, attacks in every for attack in attacks))
    for summary, name, attacks in every:
        table = Table(box=None, padding=(0, 1), collapse_padding=True, pad_edge=False, header_style="bold")
        table.add_column("attack", overflow="fold", min_width=width)
        for head, _, _ in columns:
            table.add_column(head, justify="right", no_wrap=True, min_width=_NUMBERS)
        for attack, group in sorted(attacks.items(), key=lambda item: _order(item[0])):
            cells = [_cell(group[key], complement=key == "ssim") for _, key, _ in columns]
            table.add_row(attack, *cells, style="bold" if attack == summary["attack"] else "")
        # Over the table, and not in a column of it: many names are wider than what the numbers leave.
        parts += [Text(f"\n{name}", style="bold"), table]
    parts.append(Text())
    legend = "; ".join(f"{head}: {meaning}" for head, _, meaning in columns)
    beside = any(summary.get("control") and _is_joint(summary["attack"]) for summary in summaries)
    remark_on_control = " The attack on the prediction alone stands beside the joint one." if beside else ""
    parts.append(Text(f"{legend}.{remark_on_control}", style="dim"))
    for remark in dict.fromkeys(_remark(summary["images"]) for summary in summaries):
        parts.append(Text(remark, style="dim"))
    return Group(*parts)


def _at_once(summary: Mapping[str, Any]) -> Text:
    """Of several interpreters, how many images kept all of their maps."""
    attack, *control = summary["joint_success_all"].items()
    name, interval = attack
    verb = "kept the maps" if summary.get("target_map", "benign") == "benign" else "showed the wanted maps"
    line = Text("Joint success: ").append(_percent(interval), style="bold")
    line.append(f" of {interval['n']} images got another class from {name} and {verb} of ")
    attacked = (name for name in summary["joint_success"] if name not in summary.get("readers", ()))
    line.append(" and ".join(attacked), style="bold").append(" at once")
    for other, share in control:
        line.append(f" ({other}: {_percent(share)})")
    return line.append(".")


def _is_joint(attack: str) -> bool:
    return attack in KINDS and KINDS[attack].joint


def _pointing_known(summary: Mapping[str, Any]) -> bool:
    groups = [group for part in summary["interpreters"].values() for group in part["attacks"].values()]
    return all(group.get("map_peak_inside", {}).get("n") for group in groups)


def _remark(images: Mapping[str, Any]) -> str:
    skipped = images["correctly_classified"] - images["attacked"]
    return (
        f"Means over {images['attacked']} attacked images with 95 % intervals; {images['considered']} were looked "
        f"at, {images['correctly_classified']} of them classified correctly."
        + (f" {skipped} of those belong to the target class already." if skipped else "")
        + (f" {len(images['unreadable'])} could not be read." if images["unreadable"] else "")
    )


def _percent(interval: Mapping[str, Any]) -> str:
    return f"{100 * interval['mean']:.1f} % [{100 * interval['low']:.1f}, {100 * interval['high']:.1f}]"


def _order(attack: str) -> int:
    return {"clean": 0, "reseeded": 1, "noise": 2}.get(attack, 3)
