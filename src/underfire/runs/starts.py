"""The starts of a run: when it was begun and continued, with which versions, and on what kind of machine."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from typing import Any

import torch

from underfire.errors import warn
from underfire.runs.differences import differences
from underfire.runs.environment import device_of, versions
from underfire.runs.store import Store


def note_start(store: Store, device: torch.device) -> None:
    """Add this start to ``starts`` in ``run.json``, and warn if the run began under other conditions.

    An entry has ``time`` (UTC), ``versions``, ``threads``, ``device`` and ``platform``. It names no host and no user.

    Args:
        store: the run's folder.
        device: the device of the attacks.
    """
    starts: list[dict[str, Any]] = list(store.read_run().get("starts", ()))
    now = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "threads": torch.get_num_threads(),
        "device": device_of(device),
        "platform": f"{platform.system()} {platform.machine()}",
    }
    changed = differences(_conditions(starts[-1]), _conditions(now)) if starts else []
    store.update_run(starts=[*starts, now])
    if changed:
        warn(
            f"this run was begun under other conditions, and goes on here: {'; '.join(changed)}. The last bits of "
            "results may differ between its parts; run.json lists all starts."
        )


def _conditions(start: dict[str, Any]) -> dict[str, Any]:
    """Return what the last bits of results may depend on."""
    device = start.get("device") or {}
    return {
        **(start.get("versions") or {}),
        "threads": start.get("threads"),
        "device": " ".join(str(device[part]) for part in ("type", "name", "instructions") if device.get(part)),
        "platform": start.get("platform"),
    }
