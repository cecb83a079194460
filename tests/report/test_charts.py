"""Charts are well-formed SVG that shows what it was given."""

import math
import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from align.report.charts import POINTS, Axis, bar, lines, scale, thinned, whisker

NUMBERS = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False).map(lambda value: round(value, 6))


@given(st.lists(NUMBERS, min_size=1, max_size=20))
def test_an_axis_holds_all_values_between_few_ticks_at_round_steps(values):
    axis = Axis.over(values)
    assert all(-0.01 <= axis.share(value) <= 1.01 for value in values)
    assert 2 <= len(axis.ticks) <= 9
    step = axis.ticks[1] - axis.ticks[0]
    leading = step / 10 ** math.floor(math.log10(step) + 1e-6)
    assert any(math.isclose(leading, size, rel_tol=1e-3) for size in (1, 2, 5))


@given(st.lists(NUMBERS, min_size=2, max_size=6))
def test_the_ticks_of_an_axis_have_different_labels(values):
    axis = Axis.over(values)
    if axis.high - axis.low > 1e-3 * max(abs(axis.low), abs(axis.high)):
        labels = [axis.label(tick) for tick in axis.ticks]
        assert len(set(labels)) == len(labels)


def test_a_whisker_lies_where_its_values_do():
    svg = ET.fromstring(whisker(50, 25, 75, Axis(0, 100, (0, 50, 100)), "half"))
    line = next(item for item in svg if item.get("class") == "whisker")
    dot = next(item for item in svg if item.get("class") == "dot")
    low, middle, high = (float(text.rstrip("%")) for text in (line.get("x1"), dot.get("cx"), line.get("x2")))
    assert low < middle < high
    assert math.isclose(middle - low, high - middle)
    assert math.isclose(middle, 50)


def test_the_parts_of_a_bar_follow_each_other_and_share_its_length():
    svg = ET.fromstring(bar([("kept", "kept", 3), ("dropped", "dropped", 1)], 8))
    places = [(float(part.get("x").rstrip("%")), float(part.get("width").rstrip("%"))) for part in svg]
    assert places == [(0, 37.5), (37.5, 12.5)]


def test_a_bar_of_nothing_is_empty():
    svg = ET.fromstring(bar([("kept", "nothing", 0)], 0))
    assert len(svg) == 0


def test_names_cannot_break_out_of_a_chart():
    hostile = '"><script>alert(1)</script>&'
    axis = Axis(0, 1, (0, 1))
    for drawn in (
        whisker(0.5, 0.1, 0.9, axis, hostile),
        bar([("kept", hostile, 1)], 1),
        lines(hostile, {hostile: [(1, 1.0), (2, 2.0)]}),
    ):
        assert "script" not in {item.tag for item in ET.fromstring(drawn).iter()}
        assert hostile not in drawn


@given(st.lists(st.floats(width=32), min_size=1, max_size=30))
def test_any_curve_is_drawn_without_its_values_that_are_not_finite(values):
    drawn = lines("Loss", {"loss": [(float(step), value) for step, value in enumerate(values, start=1)]})
    assert "nan" not in drawn
    assert "inf" not in drawn.replace("No finite", "")
    if any(map(math.isfinite, values)):
        ET.fromstring(drawn)


def test_a_long_curve_keeps_its_ends_and_its_spike():
    points = [(float(step), math.sin(step / 1000)) for step in range(20_000)]
    points[12_345] = (12_345.0, 99.0)
    kept = thinned(points)
    assert len(kept) <= POINTS
    assert {points[0], points[12_345], points[-1]} <= set(kept)
    assert kept == sorted(kept)


def test_a_scale_writes_every_tick():
    axis = Axis.over([0, 30])
    assert [text.text for text in ET.fromstring(scale(axis))] == ["0", "10", "20", "30"]
