"""The parts of the generator of scenes, against areas in closed form, slow replicas, and exact numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from underfire.data.scenes.outlines import OUTLINES
from underfire.data.scenes.place import place
from underfire.data.scenes.random import TURN, Draws, cosine, cosine_and_sine, sine
from underfire.data.scenes.raster import Ring, area, coverage
from underfire.data.scenes.textures import TEXTURES, _spline, octave

Points = list[tuple[float, float]]
PINNED_WORDS = ["0x6db0ff6ceb8117fe", "0x6ea9ac6cae1ad2e"]


def ring(points: Points, solid: bool = True) -> Ring:
    return Ring(np.array(points, dtype=np.float64), solid)


def box(left: float, top: float, right: float, bottom: float, solid: bool = True) -> Ring:
    return ring([(left, top), (right, top), (right, bottom), (left, bottom)], solid)


class TestCoverage:
    def test_a_box_on_the_grid(self) -> None:
        expected = np.zeros((64, 64))
        expected[5:9, 2:7] = 256
        assert np.array_equal(coverage([box(2, 5, 7, 9)]), expected)

    def test_parts_of_pixels(self) -> None:
        covered = coverage([box(10.25, 20.5, 12.75, 22)])
        expected = np.zeros((64, 64))
        expected[20, 10:13] = 96, 128, 96
        expected[21, 10:13] = 192, 256, 192
        assert np.array_equal(covered, expected)

    def test_a_slanted_edge_halves_pixels(self) -> None:
        covered = coverage([ring([(0, 0), (64, 64), (0, 64)])])
        assert np.array_equal(np.diag(covered), np.full(64, 128))
        assert np.array_equal(covered > 0, np.tri(64, dtype=bool))

    @pytest.mark.parametrize("flip", [False, True])
    def test_the_order_of_points_does_not_matter(self, flip: bool) -> None:
        points: Points = [(10, 10), (30, 12), (25, 40), (8, 33)]
        hole: Points = [(14, 14), (20, 15), (18, 25)]
        expected = coverage([ring(points), ring(hole, False)])
        turned = [ring(points[::-1]), ring(hole, False)] if flip else [ring(points), ring(hole[::-1], False)]
        assert np.array_equal(coverage(turned), expected)
        assert np.array_equal(coverage([ring(points[2:] + points[:2]), ring(hole, False)]), expected)

    def test_union_and_holes(self) -> None:
        twice = coverage([box(2, 2, 10, 10), box(6, 6, 14, 14)])
        assert twice.max() == 256
        assert twice.sum() == 256 * (64 + 64 - 16)
        assert coverage([box(2, 2, 10, 10), box(4, 4, 6, 7, False)]).sum() == 256 * (64 - 6)
        # A hole through one of two rings leaves the other ring; a hole outside of all rings changes nothing.
        through_one = coverage([box(2, 2, 10, 10), box(6, 2, 14, 10), box(8, 4, 12, 6, False)])
        assert through_one.sum() == 256 * (12 * 8 - 4)
        assert np.array_equal(coverage([box(2, 2, 10, 10), box(20, 20, 30, 30, False)]), coverage([box(2, 2, 10, 10)]))

    @pytest.mark.parametrize(
        ("outside", "inside"),
        [
            (box(-20, -9, 3.5, 2), box(0, 0, 3.5, 2)),
            (box(60, 61, 100, 90), box(60, 61, 64, 64)),
            (box(-5, -5, 70, 70), box(0, 0, 64, 64)),
        ],
    )
    def test_parts_outside_are_cut_off(self, outside: Ring, inside: Ring) -> None:
        assert np.array_equal(coverage([outside]), coverage([inside]))

    def test_wholly_outside(self) -> None:
        for other in (box(-9, 3, -2, 8), box(70, 3, 80, 9), box(3, -9, 8, -1), box(3, 64, 8, 99)):
            assert coverage([other]).sum() == 0

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.tuples(st.integers(-8, 72), st.integers(-8, 72)), min_size=3, max_size=3, unique=True))
    def test_triangles_as_a_slow_replica_has_them(self, corners: list[tuple[int, int]]) -> None:
        triangle = ring([(float(x), float(y)) for x, y in corners])
        if area(triangle.points) == 0:
            return
        covered = coverage([triangle])
        # With four scan lines per pixel, the error of an edge is at most half a line, 1/8; that of the replica at most
        # half of 1/16. A thin triangle has two edges in a pixel.
        assert np.abs(covered / 256 - sampled(triangle.points)).max() <= 2 * (1 / 8 + 1 / 32)
        assert abs(covered.sum() / 256 - sampled(triangle.points).sum()) < 2.5

    def test_a_disc_has_its_area(self) -> None:
        angles = np.arange(0, TURN, 8)
        disc = Ring(np.stack((32 + 20 * cosine(angles), 32 + 20 * sine(angles)), 1))
        assert coverage([disc]).sum() / 256 == pytest.approx(math.pi * 400, rel=2e-3)
        assert area(disc.points) == pytest.approx(math.pi * 400, rel=1e-3)


def sampled(points: NDArray[np.float64], fine: int = 16) -> NDArray[np.float64]:
    """Compute the share of fine x fine points per pixel inside a convex ring."""
    middles = (np.arange(64 * fine) + 0.5) / fine
    x, y = middles[None], middles[:, None]
    sides = []
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, 0), strict=True):
        sides.append((x1 - x0) * (y - y0) - (y1 - y0) * (x - x0))
    inside = np.all([side > 0 for side in sides], 0) | np.all([side < 0 for side in sides], 0)
    return inside.reshape(64, fine, 64, fine).mean((1, 3))


class TestDraws:
    def test_numbers_are_pinned(self) -> None:
        draws = Draws(1, 2, 3)
        assert [hex(word) for word in draws.raw(2).tolist()] == PINNED_WORDS
        first = int(PINNED_WORDS[0], 16).to_bytes(8, "little")
        assert Draws(1, 2, 3).levels(1, 4).tolist() == [[byte - 127.5 for byte in first[:4]]]

    def test_each_picture_and_purpose_has_its_own(self) -> None:
        firsts = {Draws(s, n, p).raw(64).tobytes() for s in range(3) for n in range(5) for p in range(3)}
        assert len(firsts) == 45
        words = np.concatenate([Draws(1, n, 0).raw(200) for n in range(50)])
        assert len(set(words.tolist())) == len(words)

    def test_uniform(self) -> None:
        draws = Draws(0, 0, 0)
        counts = np.bincount([draws.integer(-2, 4) + 2 for _ in range(7000)], minlength=7)
        assert len(counts) == 7
        assert np.abs(counts - 1000).max() < 4 * math.sqrt(1000)
        values = np.array([draws.between(-1, 3) for _ in range(4000)])
        assert values.min() >= -1
        assert values.max() < 3
        assert abs(values.mean() - 1) < 4 * (4 / math.sqrt(12 * 4000))
        levels = draws.levels(100, 100)
        assert set(np.unique(levels)) == {byte - 127.5 for byte in range(256)}

    def test_angles(self) -> None:
        angles = np.arange(-TURN, 2 * TURN)
        assert np.abs(cosine(angles) - np.cos(2 * np.pi * angles / TURN)).max() < 1e-5
        assert np.abs(sine(angles) - np.sin(2 * np.pi * angles / TURN)).max() < 1e-5
        assert all(cosine_and_sine(a) == (cosine(np.array(a)), sine(np.array(a))) for a in (-700, -3, 0, 5, 1500))

    def test_no_table_entry_could_be_rounded_either_way(self) -> None:
        """The last bit of a cosine differs between systems; no value is that near to a rounding limit."""
        exact = np.cos(2 * np.pi * np.arange(TURN) / TURN) * 65536
        assert np.abs(np.abs(exact % 1) - 0.5).min() > 1e-6


class TestSurfaces:
    @pytest.mark.parametrize(("down", "across"), [(32, 32), (16, 1), (32, 8), (2, 2)])
    def test_noise_is_summed_exactly(self, down: int, across: int) -> None:
        """Matrix products add in any order; here no order rounds, as a sum of arbitrarily long integers shows."""
        fast, draws = octave(Draws(5, 6, 7), down, across), Draws(5, 6, 7)
        row, column = draws.integer(0, down - 1), draws.integer(0, across - 1)
        left, right = _spline(down)[row : row + 64], _spline(across)[column : column + 64]
        doubled = (2 * draws.levels(left.shape[1], right.shape[1])).astype(np.int64).astype(object)
        whole = left.astype(np.int64).astype(object) @ doubled @ right.astype(np.int64).astype(object).T
        scale = 1 / (73.6 * (0.692 if down > 1 else 1.0) * (0.692 if across > 1 else 1.0))
        assert np.array_equal(fast, (whole / 2).astype(np.float32) * np.float32(scale / 128 / 128))

    @pytest.mark.parametrize("period", [2, 4, 8, 16, 32])
    def test_spline_weights_add_up(self, period: int) -> None:
        assert np.abs(_spline(period).sum(1) - 128).max() <= 2
        assert _spline(period).min() >= 0

    def test_noise_is_standardised(self) -> None:
        for down, across in ((32, 32), (8, 8), (16, 1), (1, 1)):
            values = np.stack([octave(Draws(0, n, 9), down, across) for n in range(150)])
            assert abs(values.mean()) < 0.08
            assert values.std() == pytest.approx(1, abs=0.08)

    @pytest.mark.parametrize("name", TEXTURES)
    def test_surfaces_are_not_flat_nor_clipped(self, name: str) -> None:
        fields = np.stack([TEXTURES[name][0](Draws(0, n, 4)) for n in range(30)])
        assert fields.dtype == np.float32
        assert fields.min() >= 0
        assert fields.max() <= 1
        assert fields.std((1, 2)).min() > 0.06
        assert ((fields == 0) | (fields == 1)).mean() < 0.08


@pytest.mark.parametrize("name", OUTLINES)
def test_outlines_are_placed_inside_and_have_the_wanted_size(name: str) -> None:
    for number in range(40):
        draws = Draws(9, number, 1)
        rings = place(draws, OUTLINES[name](draws), 512)
        ends = np.concatenate([one.points for one in rings])
        assert ends.min() >= -1.5
        assert ends.max() <= 65.5
        assert 0.07 < coverage(rings).mean() / 256 < 0.34
        # No ring crosses itself so far that it turns inside out: the covered area is its own area.
        whole = [one for one in rings if one.solid]
        for one in whole:
            middle = one.points - one.points.mean(0) + 32
            if np.ptp(middle) < 60:
                assert coverage([Ring(middle)]).sum() / 256 == pytest.approx(abs(area(one.points)), rel=0.05, abs=3)


def test_nothing_is_upside_down_that_stands() -> None:
    """With no lean, a house's roof is above its floor, and an umbrella's dome above its handle."""
    for name in ("house", "umbrella"):
        for number in range(20):
            draws = Draws(9, number, 1)
            rows = coverage(place(draws, OUTLINES[name](draws), 0)).sum(1)
            top, bottom = np.flatnonzero(rows)[[0, -1]]
            widest = int(rows.argmax())
            assert widest - top < bottom - widest if name == "umbrella" else rows[top] < rows[bottom]
