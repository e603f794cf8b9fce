"""Our own attacks: parts, run by the generic loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from underfire.attacks.aim import Aim
from underfire.attacks.base import BaseAttack
from underfire.attacks.benign import Benign
from underfire.attacks.loop import Loop
from underfire.attacks.outcome import Outcome
from underfire.attacks.parts import Parts
from underfire.attacks.perturbations.base import check_levels
from underfire.attacks.probe import probe_logits, probe_views
from underfire.attacks.progress import Progress
from underfire.batching import in_parts
from underfire.system import SystemView
from underfire.user_parts import guarded, is_own


@dataclass(frozen=True)
class Attack(Parts, BaseAttack):
    """An attack assembled from parts; calling it attacks images. See ``Parts`` for its arguments."""

    @torch.enable_grad()
    def run(
        self,
        view: SystemView,
        benign: Benign,
        aim: Aim,
        *,
        seed: int,
        batch_size: int,
        progress: Progress | None = None,
        trace_every: int | None = None,
    ) -> Outcome:
        self._levels(benign.images, benign.images)  # a perturbation that cannot round is an error before any work
        probe_logits(view.prepared, benign.images)
        if self.joint:
            probe_views(view, benign, aim.classes)
        rounds = self.search.rounds if self.search else 1
        total = -(-len(benign.images) // batch_size) * rounds

        def one_batch(rows: slice, batch_size: int) -> Outcome:
            done = rows.start // batch_size * rounds

            def once(number: int, constant: Tensor | None) -> Outcome:
                loop = Loop(
                    self,
                    view,
                    benign.images[rows],
                    aim.part(rows),
                    benign.ids[rows],
                    seed=seed,
                    batch_size=batch_size,
                    constant=constant,
                    progress=_shifted(progress, done + number, total),
                    trace_every=trace_every if number + 1 == rounds else None,
                )
                return loop()

            return once(0, None) if self.search is None else self.search.best(once, benign.images[rows])

        outcome = Outcome.joined(in_parts(one_batch, len(benign.images), batch_size))
        outcome.images = self._levels(benign.images, outcome.images)
        return outcome

    def _levels(self, images: Tensor, adversarial: Tensor) -> Tensor:
        """Round ``adversarial`` to 8 bits. Raises UserCodeError if a perturbation of the user's own does not."""
        found = guarded(self.perturbation, "perturbation").levels(images, adversarial)
        if is_own(self.perturbation):
            check_levels(found, images, self.perturbation.name)
        return found


def _shifted(progress: Progress | None, index: int, batches: int) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda step, total: progress(index * total + step, batches * total)
