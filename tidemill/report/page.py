"""The page of a run: decision and reasons first, then what they rest on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from tidemill.evaluate.record import Apart, Comparison, Evaluation, Explained, Interval, Slice, figure
from tidemill.metric import KINDS
from tidemill.records import Run
from tidemill.report import charts
from tidemill.runs import Compared

SLICES = 20
FEATURES = 20
SHIFTS = 12
EXPLAINED = 5
APART = {"established": "held out when the champion was judged", "newer": "newer than all the champion knew", "newest": "the newest part"}
RATES = {
    "selection_rate": "selection rate", "true_positive_rate": "true positive rate", "false_positive_rate": "false positive rate",
    "accuracy": "accuracy", "mean_prediction": "mean prediction", "mean_absolute_error": "mean absolute error",
}  # fmt: skip


@dataclass(frozen=True)
class Story:
    """A run that was judged. uploads: the keys it brought, at most some of them, of `brought` in all; since: beside the judged run before it."""

    run: Run
    question: str
    outcome: str
    reasons: tuple[str, ...]
    evaluation: Evaluation
    uploads: tuple[str, ...]
    brought: int
    covers: str
    since: Compared | None


def page(story: Story) -> str:
    """Self-contained HTML: no script, no font, nothing fetched."""
    found = story.evaluation
    views = {
        "story": story, "e": found, "kinds": KINDS, "rates": RATES, "figure": figure, "metrics": _metrics(found), "primary": _primary(found),
        "slices": _slices(found.slices), "apart": [(APART[each.name], each) for each in found.apart], "apart_chart": _apart(found.apart),
        "calibration": _calibration(found), "importance": charts.bars(found.importance[:FEATURES]) if found.importance else "",
        "explained": [_sentence(each) for each in found.explained[:EXPLAINED]], "shifts": found.shift[:SHIFTS],
        "curve": charts.curve(found.learning) if len(found.learning) > 1 else "",
    }  # fmt: skip
    return _environment().get_template("page.html").render(views)


def _environment() -> Environment:
    made = Environment(loader=PackageLoader("tidemill.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters["thousands"] = lambda value: f"{value:,}"
    return made


def _models(found: Evaluation) -> list[tuple[str, str, Any]]:
    """Name, style and scores of each model that was judged."""
    formers: list[tuple[str, Comparison | None]] = [("champion", found.champion), ("best ever", found.best)]
    others = [(f"{name} {former.champion}", "champion", former.scores) for name, former in formers if former is not None]
    return [("challenger", "challenger", found.challenger), *others, ("linear baseline", "linear", found.baseline)]


def _metrics(found: Evaluation) -> list[dict[str, Any]]:
    models = _models(found)
    return [
        {"name": KINDS[metric].name, "better": "higher" if KINDS[metric].higher else "lower", "primary": metric == found.primary,
         "values": [str(scores.metrics[metric]) if metric in scores.metrics else "–" for _, _, scores in models]}
        for metric in found.challenger.metrics
    ]  # fmt: skip


def _primary(found: Evaluation) -> dict[str, Any]:
    models = [(name, kind, scores.metrics.get(found.primary)) for name, kind, scores in _models(found)]
    lines = [charts.Line(name, value, figure(value.value), kind) for name, kind, value in models if value is not None]
    return {"names": [name for name, _, _ in models], "chart": charts.intervals(lines)}


def _slices(slices: Sequence[Slice]) -> dict[str, Any]:
    """The worst first, by the end of the interval that speaks for them."""
    compared = [(each, each.gain) for each in slices if each.gain is not None]
    if not compared:
        return {"chart": "", "shown": 0, "all": len(slices), "lines": slices[:SLICES]}
    compared.sort(key=lambda each: each[1].high)
    lines = [charts.Line(str(each), gain, f"{gain.value:+.3f} · {each.rows:,}", _side(gain)) for each, gain in compared[:SLICES]]
    return {"chart": charts.intervals(lines, zero=0.0), "shown": len(lines), "all": len(compared), "lines": ()}


def _apart(apart: Sequence[Apart]) -> Markup | str:
    lines = [charts.Line(each.name, each.gain, f"{each.gain.value:+.3f}", _side(each.gain)) for each in apart if each.gain is not None]
    return charts.intervals(lines, zero=0.0) if lines else ""


def _side(gain: Interval) -> str:
    return "worse" if gain.high < 0 else "better" if gain.low > 0 else ""


def _calibration(found: Evaluation) -> dict[str, Any]:
    if found.calibration is None or len(found.calibration.bins) < 2:
        return {"chart": "", "error": None}
    names = {
        "binary": ("score", "share that is true"),
        "multiclass": ("score of the likeliest", "share that is right"),
        "regression": ("predicted", "actual"),
    }
    return {"chart": charts.reliability(found.calibration.bins, *names[found.task]), "error": figure(found.calibration.error)}


def _sentence(explained: Explained) -> dict[str, Any]:
    """An answer and the features that made it what it is."""
    reasons = [
        {"feature": reason.feature, "value": reason.value, "effect": f"{reason.effect:+.2g}", "side": "up" if reason.effect > 0 else "down"}
        for reason in explained.reasons
    ]
    return {"score": figure(explained.score), "base": figure(explained.base), "reasons": reasons}
