from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from tierflow.policies.base import Cut
from tierflow.report import charts
from tierflow.report.palette import SEQUENTIAL, between, tier_colours
from tierflow.report.plot import Plot
from tierflow.report.scale import Scale, fit

CUTS = [Cut("A", 0.75), Cut("B", 0.5), Cut("C", 0.25), Cut("D", 0.0)]


def bars(html: str, tier: int) -> list[tuple[float, float]]:
    """Return (left, height) of each bar of a tier."""
    path = re.search(rf'<path class="f{tier}" d="([^"]*)"', html)
    return [(float(x), float(h)) for x, h in re.findall(r"M([\d.]+) [\d.-]+h[\d.]+v([\d.]+)", path[1])] if path else []


def test_bars_are_as_high_as_their_counts() -> None:
    counts = np.array([[0, 4], [3, 1], [0, 0], [8, 0]])
    html = str(charts.score_histogram(counts, CUTS, alt="", note=""))
    unit = 1000 / (8 * 1.04)
    assert bars(html, 0) == [(250.0, pytest.approx(3 * unit, abs=0.1)), (750.0, pytest.approx(8 * unit, abs=0.1))]
    assert bars(html, 1) == [(0.0, pytest.approx(4 * unit, abs=0.1)), (250.0, pytest.approx(unit, abs=0.1))]


def test_every_cut_but_the_last_is_drawn_and_named() -> None:
    html = str(charts.score_histogram(np.ones((4, 4), dtype=np.int64), CUTS, alt="", note=""))
    assert re.findall(r'class="cut" data-cut="(\d)" d="M([\d.]+)', html) == [
        ("0", "750.00"),
        ("1", "500.00"),
        ("2", "250.00"),
    ]
    assert "A from 0.75" in html
    assert "D from" not in html


def test_names_of_near_cuts_stand_on_different_lines() -> None:
    near = [Cut("A", 0.75), Cut("B", 0.74), Cut("C", 0.73), Cut("D", 0.1), Cut("E", 0.0)]
    html = str(charts.score_histogram(np.ones((4, 5), dtype=np.int64), near, alt="", note=""))
    assert re.findall(r"--level:(\d)", html) == ["0", "1", "2", "0"]


def test_few_objects_are_points_of_their_tiers() -> None:
    values, score = np.array([1.0, 2.0, np.nan, 3.0]), np.array([0.1, 0.5, 0.7, 1.0])
    html = str(charts.relation(values, score, np.array([1, 1, 0, 0]), title="t", about="a", cuts=CUTS))
    assert [m[1].count("M") for m in re.finditer(r'class="dot s[01]" d="([^"]*)"', html)] == [1, 2]


def test_many_objects_are_bins_of_bounded_size() -> None:
    rng = np.random.default_rng(0)
    score = rng.random(200_000)
    html = str(
        charts.relation(score + rng.normal(0, 0.1, 200_000), score, np.zeros(200_000, int), title="", about="", cuts=[])
    )
    assert "dot" not in html
    assert len(html) < 120_000
    assert html.count("z") <= charts.BIN_COLUMNS * charts.BIN_ROWS + 10
    assert f"f0 d{charts.DEPTHS}" in html


def test_an_outlier_does_not_squeeze_the_others() -> None:
    values = np.append(np.linspace(1, 2, 5000), 1e9)
    assert fit(values).high < 3


def test_axes_follow_the_data() -> None:
    assert fit(np.array([5.0, 5.0])) == Scale(4.75, 5.25)
    assert fit(np.array([])) == Scale(0.0, 1.0)
    assert fit(10.0 ** np.linspace(-3, 3, 100)).log
    assert fit(np.linspace(0, 9, 50)).low == 0.0


@pytest.mark.parametrize(
    "scale", [Scale(0, 1), Scale(-3.2, 0.7), Scale(0.001, 5000, log=True), Scale(20, 90, log=True)]
)
def test_ticks_lie_on_the_axis_where_their_labels_say(scale: Scale) -> None:
    ticks = scale.ticks(4)
    assert 2 <= len(ticks) <= 9
    for place, label in ticks:
        assert place == pytest.approx(scale.at(float(label.replace(",", ""))), abs=1e-6)


def test_rank_correlation_knows_ties_and_order() -> None:
    x = np.arange(100.0)
    assert charts.spearman(x, np.exp(x / 10)) == pytest.approx(1.0)
    assert charts.spearman(x, -x) == pytest.approx(-1.0)
    assert np.isnan(charts.spearman(x, np.ones(100)))
    tied, other = np.array([1, 2, 2, 3, 4, 5, 5, 6.0]), np.array([2, 1, 3, 3, 5, 4, 6, 6.0])
    assert charts.spearman(tied, other) == pytest.approx(stats.spearmanr(tied, other).statistic)


def test_violins_show_every_group_and_points_where_there_are_few() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 1, 500), [1.0, 2.0, 3.0]])
    group = np.concatenate([np.zeros(500, int), np.ones(3, int)])
    html = str(charts.violins(values, group, ["DAPI", "<GFP>"], title="t", about="a"))
    assert html.count('class="violin"') == 1
    assert re.search(r'class="dot sv" d="([^"]*)"', html)[1].count("M") == 3
    assert "&lt;GFP&gt;" in html
    assert "<GFP>" not in html


def test_time_runs_from_left_to_right() -> None:
    moments = np.repeat(np.arange(4), 10)
    values = moments + np.tile(np.linspace(0, 0.5, 10), 4)
    html = str(charts.timeline(values, moments, ["t1", "t2", "t3", "t4"], title="t", about="a"))
    line = re.search(r'class="line" d="M([^"]*)"', html)[1]
    points = [tuple(map(float, p.split())) for p in line.split("L")]
    assert [round(x) for x, _ in points] == [0, 333, 667, 1000]
    assert all(b[1] < a[1] for a, b in pairwise(points))


def test_texts_of_a_chart_are_escaped() -> None:
    plot = Plot('<b>"title"', 'alt "<x>"', note="<n>", x_label="<x>", y_label="<y>")
    plot.x_ticks([(0.5, "<tick>")])
    plot.y_ticks([(0.5, '"><img>')])
    html = str(plot.html())
    assert not re.search(r"<(b|x|n|y|tick|img)[>\s]", html)


def test_colours_differ_in_lightness_by_tier() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    for dark in (False, True):
        lights = [luminance(c) for c in tier_colours(4, dark=dark)]
        assert lights == sorted(lights, reverse=dark)
        assert min(abs(a - b) for a, b in pairwise(lights)) > 0.05
    steps = [luminance(c) for c in SEQUENTIAL]
    assert steps == sorted(steps)
    assert between(["#000000", "#ffffff"], 0.5) == "#808080"
    assert len(tier_colours(7, dark=False)) == 7
    assert len(tier_colours(1, dark=False)) == 1
