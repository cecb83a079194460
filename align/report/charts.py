"""Charts as inline SVG, drawn in Python. Colours and fonts are the page's: shapes carry class names only.

Bars and whiskers place everything in percent of their width, so that they fit a phone without shrinking their text.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

Series = Mapping[str, Sequence[tuple[float, float]]]
"""Name → points."""

STYLES = 5
"""Line styles (colour and dashes) that the page defines: `s0` …; more lines use them again."""
POINTS = 400
"""Points a line keeps, at most."""
WIDTH, HEIGHT = 320, 180
LEFT, RIGHT, TOP, BOTTOM = 48, 312, 8, 156


@dataclass(frozen=True)
class Axis:
    """A linear axis with round ticks."""

    low: float
    high: float
    ticks: tuple[float, ...]

    @staticmethod
    def over(values: Iterable[float], count: int = 5) -> "Axis":
        """An axis that holds all values, with about `count` steps of 1, 2 or 5 times a power of ten."""
        known = list(values)
        low, high = min(known), max(known)
        if high - low <= 1e-9 * max(abs(low), abs(high)):
            low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
        rough = (high - low) / count
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(size * unit for size in (1, 2, 5, 10) if size * unit >= rough * 0.999)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        return Axis(first * step, last * step, tuple(index * step for index in range(first, last + 1)))

    def share(self, value: float) -> float:
        """Where a value lies: 0 at the low end, 1 at the high end."""
        return (value - self.low) / (self.high - self.low)

    def label(self, tick: float) -> str:
        """A tick's text, with the digits that tell it from the next."""
        step = self.ticks[1] - self.ticks[0]
        if max(abs(self.low), abs(self.high)) >= 1e5 or step < 1e-4:
            return f"{tick:.3g}"
        return f"{tick:,.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"


def whisker(value: float, low: float, high: float, axis: Axis, label: str) -> Markup:
    """A dot with its interval over the axis's grid, one row high."""
    grid = Markup().join(
        Markup('<line class="{}" x1="{x}" x2="{x}" y1="0" y2="100%"/>').format(
            "zero" if tick == 0 else "grid", x=_at(axis, tick)
        )
        for tick in axis.ticks
    )
    return Markup(
        '<svg class="row dots" role="img" aria-label="{}">{}<line class="whisker" x1="{}" x2="{}" y1="50%" y2="50%"/>'
        '<circle class="dot" cx="{}" cy="50%" r="5"/></svg>'
    ).format(label, grid, _at(axis, low), _at(axis, high), _at(axis, value))


def scale(axis: Axis) -> Markup:
    """The axis's ticks, to stand below rows."""
    ticks = Markup().join(
        Markup('<text class="tick" x="{}" y="14" text-anchor="middle">{}</text>').format(
            _at(axis, tick), axis.label(tick)
        )
        for tick in axis.ticks
    )
    return Markup('<svg class="row scale" aria-hidden="true">{}</svg>').format(ticks)


def bar(parts: Sequence[tuple[str, str, float]], total: float) -> Markup:
    """Parts (class, name, value) side by side in a bar as long as `total`."""
    drawn, start = [], 0.0
    for style, name, value in (part for part in parts if part[2]):
        width = 100 * value / total
        drawn.append(
            Markup('<rect class="{}" x="{:.3f}%" width="{:.3f}%" height="100%"><title>{}: {:,}</title></rect>').format(
                style, start, width, name, value
            )
        )
        start += width
    label = ", ".join(f"{name} {value:,}" for _, name, value in parts)
    return Markup('<svg class="row" role="img" aria-label="{}">{}</svg>').format(label, Markup().join(drawn))


def lines(title: str, series: Series) -> Markup:
    """Curves over training steps. Values that are not finite are left out."""
    shown = {name: thinned([point for point in points if math.isfinite(point[1])]) for name, points in series.items()}
    points = [point for line in shown.values() for point in line]
    if not points:
        return Markup('<p class="note">No finite value.</p>')
    across, up = _steps(max(x for x, _ in points)), Axis.over([y for _, y in points], 4)
    drawn = [
        Markup('<polyline class="s{}" points="{}"/>').format(
            index % STYLES, " ".join(_place(p, across, up) for p in line)
        )
        if len(line) > 1
        else Markup('<circle class="s{}" cx="{}" cy="{}" r="3"/>').format(
            index % STYLES, *_place(line[0], across, up).split(",")
        )
        for index, line in enumerate(shown.values())
        if line
    ]
    return Markup('<svg class="lines" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>').format(
        WIDTH, HEIGHT, title, _frame(across, up), Markup().join(drawn)
    )


def swatch(index: int) -> Markup:
    """The legend's sample of a line."""
    return Markup(
        '<svg class="swatch" aria-hidden="true"><line class="s{}" x1="0" x2="26" y1="6" y2="6"/></svg>'
    ).format(index % STYLES)


def thinned(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most `POINTS` points: of each stretch the lowest and the highest, so that a spike stays."""
    if len(points) <= POINTS:
        return list(points)
    size = math.ceil(2 * len(points) / (POINTS - 2))
    kept = {0, len(points) - 1}
    for start in range(0, len(points), size):
        stretch = range(start, min(start + size, len(points)))
        kept |= {min(stretch, key=lambda at: points[at][1]), max(stretch, key=lambda at: points[at][1])}
    return [points[at] for at in sorted(kept)]


def _steps(last: float) -> Axis:
    """An axis that ends with the last step."""
    ticks = Axis.over([0.0, last]).ticks
    return Axis(0.0, last, tuple(tick for tick in ticks if tick <= last))


def _frame(across: Axis, up: Axis) -> Markup:
    parts = []
    for tick in up.ticks:
        y = _y(up, tick)
        parts.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(LEFT, RIGHT, y=y))
        parts.append(
            Markup('<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>').format(
                LEFT - 6, y + 4, up.label(tick)
            )
        )
    for tick in across.ticks:
        anchor = "end" if tick > 0.97 * across.high else "middle"
        parts.append(
            Markup('<text class="tick" x="{}" y="{}" text-anchor="{}">{}</text>').format(
                _x(across, tick), BOTTOM + 18, anchor, across.label(tick)
            )
        )
    return Markup().join(parts)


def _at(axis: Axis, value: float) -> str:
    """A place along a row, with room at both ends for a dot and a tick's text."""
    return f"{3 + 94 * axis.share(value):.3f}%"


def _x(across: Axis, value: float) -> float:
    return round(LEFT + (RIGHT - LEFT) * across.share(value), 1)


def _y(up: Axis, value: float) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * up.share(value), 1)


def _place(point: tuple[float, float], across: Axis, up: Axis) -> str:
    return f"{_x(across, point[0])},{_y(up, point[1])}"
