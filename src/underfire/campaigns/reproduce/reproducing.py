"""Making the runs of a reproduction, reading them with other interpreters, and collecting what they measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from underfire.attacks.perturbations import eps_text
from underfire.campaigns.folder import Campaign
from underfire.campaigns.record import FILE
from underfire.campaigns.reproduce.defending import defenses, lacking, steps_of
from underfire.campaigns.reproduce.detecting import detections, evaded, fitted_for
from underfire.campaigns.reproduce.findings import (
    Finding,
    findings_of,
    read_findings,
    read_protocol,
    write_findings,
)
from underfire.campaigns.reproduce.grids import ADAPTIVE, Choice, grid_of, grown, has_budget
from underfire.campaigns.reproduce.labels import check_labels, defense_of, labelled, plain_runs
from underfire.campaigns.reproduce.papers import NO_DEFENSE, Item, Paper
from underfire.campaigns.reproduce.readings import readings_of, transfer_folder
from underfire.campaigns.running import run_campaign
from underfire.errors import InputError, StoreError, UnderfireError
from underfire.runs.execution import Execution
from underfire.runs.planning import Reporter
from underfire.runs.transfer import transfer

FINDINGS = "findings.parquet"
"""The file in a reproduction's folder that holds all numbers."""

DETECTION = "detection.parquet"
"""The file in a reproduction's folder that holds the numbers of detectors."""

DEFENSE = "defense.parquet"
"""The file in a reproduction's folder that holds the numbers of trained defenses."""


@dataclass(frozen=True)
class Reproduction:
    """Tables and figures of a paper, made on the user's own classifiers and data.

    Args:
        paper: the paper.
        items: its tables and figures that are shown.
        findings: what the finished runs measured.
        campaign: the campaign of the runs; None if only the numbers are there.
        missing: the reason for each run or reading that is not there, by name.
        protocol: a sentence on data, steps and settings; empty if they are not known.
    """

    paper: Paper
    items: Sequence[Item]
    findings: Sequence[Finding]
    campaign: Campaign | None
    missing: dict[str, str]
    protocol: str = ""


def reproduce(
    paper: Paper,
    items: Sequence[Item],
    choice: Choice,
    folder: Path,
    *,
    execution: Execution | None = None,
    reporters: Callable[[str], Reporter] | None = None,
    **how: Any,
) -> Reproduction:
    """Make the runs that items of a paper need, and collect their numbers.

    With ``resume``, the folder may hold runs of other items, classifiers or interpreters: the campaign grows.

    Adaptive attacks come last, because they evade detectors: these are fitted on images that the other runs have not
    attacked.

    Args:
        paper: the paper.
        items: its tables and figures that are wanted.
        choice: classifiers, interpreters, data and settings.
        folder: where runs and numbers are written; the folder of a campaign.
        execution: the settings that results do not depend on.
        reporters: makes the object that hears how the reading of a run by other interpreters goes on, from its name.
        how: ``resume``, ``engine``, ``keep_going``, ``stop``, ``listener`` and ``after``, as in ``run_campaign``.

    Raises:
        InputError: a setting is impossible.
        StoreError: the folder holds something else, or cannot be written.
        StoppedError: ``stop`` was asked; what is finished is kept.
    """
    execution, missing = execution or Execution(), lacking(items, choice)
    items = [item for item in items if item.name not in missing]
    if not items:
        raise InputError(" ".join(f"{name} of {paper.name} is {reason}" for name, reason in missing.items()))
    if (folder / DEFENSE).exists() and not how.get("resume"):
        raise StoreError(f"{folder} holds a reproduction: give --resume to add to it, or choose another folder.")
    before = read_protocol(folder / DEFENSE) if (folder / DEFENSE).exists() else ""
    if before and before != _defense_protocol(choice) and any(item.inputs for item in items):
        raise StoreError(
            f"the defenses in {folder} were measured otherwise ({before} now: {_defense_protocol(choice)}), and claims "
            "compare them image by image: give the same settings, or choose another folder."
        )
    grid = grid_of(paper, items, choice, evade={})
    if how.get("resume") and (folder / FILE).exists():
        grid = grown(grid, Campaign(folder).grid)
    labels = {name: choice.labels[name] for name in choice.maskers}
    check_labels(folder, labels)
    notes = labelled(folder, labels)
    campaign = run_campaign(grid, folder, execution=execution, notes=notes, **how) if grid.include else None
    if campaign is not None:
        missing |= _continued(paper, items, choice, campaign, execution, reporters, how)
    if any(item.inputs for item in items):
        found, reasons = defenses(items, campaign, choice, execution, folder)
        folder.mkdir(parents=True, exist_ok=True)
        file, protocol = folder / DEFENSE, _defense_protocol(choice)
        earlier = read_findings(file) if file.exists() else []
        found += [each for each in earlier if not _measured_now(each, items, choice)]
        write_findings(found, file, protocol)
        missing |= reasons
    return collected(paper, items, folder, missing)


def _measured_now(finding: Finding, items: Sequence[Item], choice: Choice) -> bool:
    """Return True if a finding about a defense is one that this start measures.

    If that failed, it is missing: earlier numbers may be those of other weights or other code.
    """
    defenses = {NO_DEFENSE, *choice.labels.values()}
    inputs = {name for item in items for name in item.inputs}
    return finding.classifier in choice.classifiers and finding.defense in defenses and finding.beside in inputs


def _defense_protocol(choice: Choice) -> str:
    """Say in one sentence how defenses were measured."""
    rts, cam = ("all" if count is None else str(count) for count in (choice.count("rts"), choice.count("cam")))
    parts = [f"data {_text('data', choice.settings.get('data', ''))}", f"images: {rts} (rts), {cam} (cam)"]
    parts += [f"{steps_of(choice)} steps of the attacks on robust classifiers"]
    return f"Defenses: {'; '.join(parts)}; seed {choice.settings.get('seed', 0)}."


def _continued(
    paper: Paper,
    items: Sequence[Item],
    choice: Choice,
    campaign: Campaign,
    execution: Execution,
    reporters: Callable[[str], Reporter] | None,
    how: Mapping[str, Any],
) -> dict[str, str]:
    """Make the runs and readings that need finished runs. Returns the reasons for those that are not there."""
    folder = campaign.path
    evade: dict[str, list[str]] = {}
    for item in items:
        if any(attack in ADAPTIVE for name in item.runs for attack in paper.runs[name].attack):
            for classifier, texts in evaded(fitted_for(paper, item, campaign, execution.device)[0]).items():
                evade[classifier] = [*evade.get(classifier, []), *texts]
    if evade:
        grid = grown(grid_of(paper, items, choice, evade), Campaign(folder).grid)
        campaign = run_campaign(grid, folder, execution=execution, **{**how, "resume": True})
    missing = _read_with_others(campaign, paper, items, choice.interpreters, execution, reporters)
    if any(item.kind == "detection" for item in items):
        found, reasons = detections(paper, items, campaign, execution.device)
        write_findings(found, folder / DETECTION)
        missing |= reasons
    return missing


def transfers_of(paper: Paper, items: Sequence[Item], campaign: Campaign) -> list[str]:
    """List the finished runs that interpreters which were not attacked have to read."""
    found = []
    for entry in plain_runs(campaign):
        held = campaign.configuration(entry.name)
        key = (held["attack"], held["perturbation"] or "pgd", held["target_map"] or "benign")
        if any(
            item.transferred and (not item.attacks or key[0] in item.attacks) and paper.runs[name].has(*key)
            for item in items
            for name in item.runs
        ):
            found.append(entry.name)
    return found


def _read_with_others(
    campaign: Campaign,
    paper: Paper,
    items: Sequence[Item],
    interpreters: Sequence[str],
    execution: Execution,
    reporters: Callable[[str], Reporter] | None,
) -> dict[str, str]:
    """Read runs with the interpreters that they did not attack. Returns the reasons for those that failed."""
    missing = {}
    for name in transfers_of(paper, items, campaign):
        run = campaign.run(name)
        others = [each for each in interpreters if each not in run.interpreters]
        for other in others:  # each by itself, so that one that is impossible leaves the others alone
            try:
                transfer(
                    run,
                    None,
                    other,
                    transfer_folder(campaign.path, name, other),
                    resume=True,
                    batch_size=execution.batch_size,
                    memory=execution.memory,
                    device=execution.device,
                    reporters=None if reporters is None else _named(reporters, f"{name} by {other}"),
                )
            except UnderfireError as error:
                missing[f"{name}, read by {other}"] = str(error)
    return missing


def _named(reporters: Callable[[str], Reporter], name: str) -> Callable[[str], Reporter]:
    """Return a function that makes the reporter of this name, whatever it is called with."""
    return lambda _: reporters(name)


def collected(paper: Paper, items: Sequence[Item], folder: Path, missing: dict[str, str] | None = None) -> Reproduction:
    """Collect the numbers of all finished runs of a reproduction, and write them into its folder.

    A folder that holds nothing but these numbers is read, too.

    Args:
        paper: the paper.
        items: its tables and figures that are wanted.
        folder: the reproduction's folder.
        missing: reasons for readings that are not there, by name.

    Raises:
        StoreError: the folder holds no reproduction.
    """
    if not (folder / FILE).exists():
        for name in (DEFENSE, FINDINGS):
            if (folder / name).exists():
                found, protocol = read_findings(folder / name), read_protocol(folder / name)
                write_findings(found, folder / FINDINGS, protocol)
                return Reproduction(paper, items, found, None, missing or {}, protocol)
    campaign = Campaign(folder)
    found = []
    for entry in campaign.finished:
        run, defense = campaign.run(entry.name), defense_of(campaign, entry.name)
        found += [replace(each, defense=defense) for each in findings_of(run, entry.name)]
        for reading in readings_of(campaign, entry.name):
            found += findings_of(reading, entry.name, "+".join(run.comparisons[0].attacked))
    for name in (DETECTION, DEFENSE):
        if (folder / name).exists():
            found += read_findings(folder / name)
    reasons = {entry.name: entry.error or entry.state for entry in campaign if entry.state != "finished"} | (
        missing or {}
    )
    protocol = protocol_of([campaign.configuration(entry.name) for entry in campaign.finished])
    if (folder / DEFENSE).exists():
        protocol = f"{protocol} {read_protocol(folder / DEFENSE)}".strip()
    write_findings(found, folder / FINDINGS, protocol)
    return Reproduction(paper, items, found, campaign, reasons, protocol)


def protocol_of(configurations: Sequence[Mapping[str, Any]]) -> str:
    """Say in one sentence how runs were made: data, steps, radius, variant and seed."""

    def said(name: str, *, missing: str, auto: bool | None = None) -> str:
        chosen = [each for each in configurations if auto is None or has_budget(each["attack"]) == auto]
        texts = dict.fromkeys(missing if each[name] is None else _text(name, each[name]) for each in chosen)
        return " or ".join(filter(None, texts))

    parts = [
        f"Data: {said('data', missing='')}",
        f"steps (warm-up, joint): {said('steps', missing='the published ones', auto=False)}",
        f"steps of auto: {said('budget', missing='200', auto=True)}",
        f"radius of PGD: {said('eps', missing='')}",
        f"settings: {said('variant', missing='')}",
        f"seed: {said('seed', missing='')}",
    ]
    return "; ".join(part for part in parts if not part.endswith(": ")) + "." if configurations else ""


def _text(name: str, value: Any) -> str:
    if name == "data":  # without the places of a machine
        return "/".join(Path(value).parts[-2:]) if Path(value).is_absolute() else str(value)
    if name == "eps":
        return ", ".join(eps_text(each) for each in value)
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
