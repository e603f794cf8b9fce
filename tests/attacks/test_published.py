"""The points in which ``published`` is not the authors' code, as ``list presets`` names them."""

from __future__ import annotations

import underfire as uf
from underfire import attacks
from underfire.attacks.terms import Prediction


def test_published_still_departs_from_the_published_code_where_it_says(classifier: uf.Classifier) -> None:
    """``DEPARTURES`` describes what ``published`` does; a row that is no longer true must go."""

    def built(attack: str, perturbation: str, interpreter: uf.interpreters.Interpreter) -> attacks.Attack:
        chosen = attacks.preset(attack, perturbation=perturbation, variant="published")
        return chosen.build(uf.System(classifier, interpreter))

    cam, grad, mask = uf.interpreters.CAM(), uf.interpreters.Grad(), uf.interpreters.MASK()
    assert built("adv2", "pgd", mask).ranking == attacks.Ranking("last")
    for perturbation in ("cw", "stadv"):
        first = built("advedge", perturbation, cam).stages[0].moves[0].terms[0]
        assert first.term == Prediction("logit")
    assert first.weight == 2
    for stage in built("adv2", "stadv", grad).stages:
        assert stage.moves[0].terms[0].weight == 2
    roughness = [w for w in built("adv2", "stadv", mask).stages[0].moves[0].terms if w.term == attacks.Penalty()]
    assert [w.weight for w in roughness] == [0.004]
    for stage in built("advedge", "pgd", cam).stages:
        assert all(getattr(w.term, "smoothing", 0) == 0 for w in stage.moves[0].terms)
    assert built("advedge", "pgd", grad).stages[0].moves[0].terms[0].term.smoothing == 0.05
