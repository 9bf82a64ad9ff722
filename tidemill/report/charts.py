"""Charts as inline SVG. They take their colours from the page's style, so that they are readable by day and by night."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from tidemill.evaluate.record import Bin, Importance, Interval, Learned, figure

WIDTH = 460
ROW = 26
LEFT, RIGHT = 140, 110
SQUARE = 300
LONGEST = 24
NEAR = 45


class Line(NamedTuple):
    """An interval with its name; `note` stands behind it, `kind` is a class of the page's style."""

    name: str
    interval: Interval
    note: str
    kind: str = ""


def intervals(lines: Sequence[Line], zero: float | None = None) -> Markup:
    """One line each, on one scale; `zero` is marked."""
    low = min([line.interval.low for line in lines] + ([] if zero is None else [zero]))
    high = max([line.interval.high for line in lines] + ([] if zero is None else [zero]))
    scale = _Scale(low, high, LEFT, WIDTH - RIGHT)
    body = [] if zero is None else [Markup('<line class="zero" x1="{0}" x2="{0}" y1="0" y2="{1}"/>').format(scale(zero), ROW * len(lines))]
    for at, line in enumerate(lines):
        y, i = ROW * at + ROW / 2, line.interval
        body.append(Markup('<g class="{}">').format(line.kind))
        body.append(_text(LEFT - 10, y, line.name, "end"))
        body.append(Markup('<line class="reach" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>').format(scale(i.low), scale(i.high), y))
        body.append(Markup('<circle cx="{}" cy="{}" r="4.5"/>').format(scale(i.value), y))
        body.append(_text(WIDTH - RIGHT + 10, y, line.note, "start"))
        body.append(Markup("</g>"))
    return _svg(WIDTH, ROW * len(lines), body)


def bars(found: Sequence[Importance]) -> Markup:
    """How much each feature is worth; a thin line is a standard deviation of its repeats."""
    scale = _Scale(min(0.0, *(each.loss for each in found)), max(each.loss + each.std for each in found), LEFT, WIDTH - RIGHT)
    body = []
    for at, each in enumerate(found):
        y = ROW * at + ROW / 2
        start, end = sorted((scale(0.0), scale(each.loss)))
        body.append(_text(LEFT - 10, y, each.feature, "end"))
        body.append(Markup('<rect class="bar" x="{}" y="{}" width="{}" height="14" rx="2"/>').format(start, y - 7, max(1.0, end - start)))
        spread = Markup('<line class="spread" x1="{0}" x2="{1}" y1="{2}" y2="{2}"/>')
        body.append(spread.format(scale(each.loss - each.std), scale(each.loss + each.std), y))
        body.append(_text(WIDTH - RIGHT + 10, y, f"{each.loss:.2g}", "start"))
    return _svg(WIDTH, ROW * len(found), body)


def reliability(bins: Sequence[Bin], predicted: str, actual: str) -> Markup:
    """Predicted against actual: on the diagonal they are equal."""
    ends = [value for each in bins for value in (each.predicted, each.actual)]
    across, up = _Scale(min(ends), max(ends), 50, SQUARE - 10), _Scale(min(ends), max(ends), SQUARE - 40, 10)
    low, high = min(ends), max(ends)
    points = " ".join(f"{across(each.predicted)},{up(each.actual)}" for each in bins)
    body = [
        Markup('<line class="zero" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(across(low), up(low), across(high), up(high)),
        Markup('<polyline class="path" points="{}"/>').format(points),
        *(Markup('<circle cx="{}" cy="{}" r="4"/>').format(across(each.predicted), up(each.actual)) for each in bins),
        _text(50, SQUARE - 22, figure(low), "middle"), _text(SQUARE - 20, SQUARE - 22, figure(high), "middle"),
        _text(SQUARE / 2 + 20, SQUARE - 8, predicted, "middle"),
        _text(44, up(low), figure(low), "end"), _text(44, up(high) + 6, figure(high), "end"),
        Markup('<text class="up" transform="translate(12 {}) rotate(-90)">{}</text>').format(SQUARE / 2, actual),
    ]  # fmt: skip
    return _svg(SQUARE, SQUARE, body)


def curve(points: Sequence[Learned]) -> Markup:
    """The metric over the rows learned from."""
    values = [each.value for each in points]
    across, up = _Scale(0, max(each.rows for each in points), 60, SQUARE - 30), _Scale(min(values), max(values), SQUARE / 2 - 40, 20)
    named = [each for each, after in zip(points, [*points[1:], None], strict=True) if after is None or across(after.rows) - across(each.rows) > NEAR]
    body = [
        Markup('<polyline class="path" points="{}"/>').format(" ".join(f"{across(each.rows)},{up(each.value)}" for each in points)),
        *(Markup('<circle cx="{}" cy="{}" r="4"/>').format(across(each.rows), up(each.value)) for each in points),
        *(_text(across(each.rows), up(each.value) - 12, figure(each.value), "middle") for each in named),
        *(_text(across(each.rows), SQUARE / 2 - 14, f"{each.rows:,}", "middle") for each in named),
    ]
    return _svg(SQUARE, SQUARE // 2, body)


class _Scale:
    """Values to places, with a little room at both ends."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        room = (high - low or abs(high) or 1.0) * 0.04
        self._low, self._span, self._start, self._end = low - room, high - low + 2 * room, start, end

    def __call__(self, value: float) -> float:
        return round(self._start + (value - self._low) / self._span * (self._end - self._start), 1)


def _text(x: float, y: float, text: str, anchor: str) -> Markup:
    return Markup('<text x="{}" y="{}" text-anchor="{}">{}</text>').format(
        x, y + 4, anchor, text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
    )


def _svg(width: float, height: float, body: Sequence[Markup]) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" style="max-width:{}px" role="img">{}</svg>').format(
        width, height, width, Markup("").join(map(escape, body))
    )
