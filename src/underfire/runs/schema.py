"""The columns of what a run writes."""

from __future__ import annotations

import pyarrow as pa

_TEXT, _NUMBER, _COUNT, _FLAG = pa.string(), pa.float64(), pa.int64(), pa.bool_()
# One row per image, attack and reading interpreter. The last two: where the map points, null where the data do not know
# the object's true mask.
RESULTS = pa.schema(
    [
        *((name, _TEXT) for name in ("image_id", "path", "image_file")),
        *((name, _COUNT) for name in ("label", "target")),
        *((name, _TEXT) for name in ("classifier", "attack", "perturbation", "shaping")),
        *((name, _TEXT) for name in ("attacked_interpreters", "interpreter")),
        *((name, _FLAG) for name in ("correct_before", "success", "untargeted_success", "joint_success")),
        *((name, _NUMBER) for name in ("confidence", "map_l1", "map_l2", "map_iou", "map_ssim", "map_spearman")),
        *((name, _NUMBER) for name in ("map_l1_target", "ssim", "linf", "l2", "edge_energy")),
        *((name, _COUNT) for name in ("steps", "forwards", "backwards")),
        ("seconds", _NUMBER),
        ("seed", _COUNT),
        ("map_mass_inside", _NUMBER),
        ("map_peak_inside", _FLAG),
    ]
)

# One row per image, attack and checked step: whether the goal was reached there, and the mean distance of the attack's
# maps to their targets over the attacked interpreters. An image that has left the attack early has no more rows.
TRACE = pa.schema(
    [
        *((name, _TEXT) for name in ("image_id", "attack", "stage")),
        ("step", _COUNT),
        ("success", _FLAG),
        ("map_l1", _NUMBER),
    ]
)
