"""gate: may this challenger go live? A pure decision with reasons that a person understands."""

from itertools import takewhile
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tidemill.evaluate.record import Comparison, Evaluation, Group, Interval, Rate, figure, named
from tidemill.metric import KINDS, Metric
from tidemill.records import Waiver
from tidemill.spec import FairnessLimits, GateSpec

Outcome = Literal["promote", "hold", "reject"]
FEWEST_ROWS = 30
"""Of so few rows, drawn one by one, many draws are alike: a random model then looks as good as any (30 is the customary least)."""


class Decision(BaseModel):
    """promote; reject: it was shown to be too bad; hold: nothing speaks against it, but too little for it. The champion stays in both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: Outcome
    reasons: tuple[str, ...]


def decide(
    evaluation: Evaluation, gate: GateSpec, before: Interval | None = None, looks: int = 0, waiver: Waiver | None = None
) -> Decision:  # fmt: skip
    """Floors and budgets, then non-inferiority: the challenger's one-sided bound must lie within the margin of the champion.

    It must lie within one margin of the best champion there was too: else each release could be a margin worse than the one before.
    `before`: the champion's primary metric when it was registered. `looks`: how often these held-out rows judged a model before. Neither
    changes a decision: they tell a person how far to trust it. `waiver`: of a comparison with the champion, should that be impossible.
    """
    told, unfair = (*_fallen(evaluation, before), *_looked_at(looks)), _unfair(evaluation, gate)
    against = [
        *_beyond_floors(evaluation, gate), *_over_budget(evaluation, gate), *_worse(evaluation, gate), *_worse_slices(evaluation, gate),
        *(reason for reason, shown in unfair if shown),
    ]  # fmt: skip
    if against:
        return Decision(outcome="reject", reasons=(*against, *told))
    if short := [*_too_few(evaluation, gate), *_not_shown(evaluation, gate, waiver), *(reason for reason, shown in unfair if not shown)]:
        return Decision(outcome="hold", reasons=(*short, *told))
    return Decision(outcome="promote", reasons=(*_floors_met(evaluation, gate), *_beside_champions(evaluation, waiver), *_looked_at(looks)))


def _meets(metric: Metric, value: float, floor: float) -> bool:
    return value >= floor if KINDS[metric].higher else value <= floor


def _beyond_floors(evaluation: Evaluation, gate: GateSpec) -> list[str]:
    """A metric that is undefined on the holdout meets no floor."""
    found = evaluation.challenger.metrics
    faults = []
    for metric, floor in gate.floor.items():
        if metric not in found:
            faults.append(f"{KINDS[metric].name} is undefined on these {evaluation.rows:,} rows, the floor asks for {floor:g}")
        elif not _meets(metric, found[metric].value, floor):
            side = "below the floor" if KINDS[metric].higher else "above the limit"
            faults.append(f"{named(metric, evaluation.challenger)} is {side} {floor:g}")
    return faults


def _over_budget(evaluation: Evaluation, gate: GateSpec) -> list[str]:
    """A model too large or too slow; what was not measured is within no budget."""
    size = None if evaluation.size_bytes is None else evaluation.size_bytes / 1e6
    found = (("MB of model.tar.gz", size, gate.size_mb_max), ("ms for one row", evaluation.latency_ms, gate.latency_ms_max))
    return [
        f"{'an unknown number of' if value is None else f'{value:.3g}'} {what}, at most {limit:g} may be"
        for what, value, limit in found
        if limit is not None and (value is None or value > limit)
    ]


def _unfair(evaluation: Evaluation, gate: GateSpec) -> list[tuple[str, bool]]:
    """Groups beyond a limit of fairness, and whether that was shown: the whole of the interval lies beyond it."""
    if gate.fairness.asked and not evaluation.fairness:
        few = f"gate.fairness cannot be judged: no sensitive column has two groups of gate.slice_min_rows = {gate.slice_min_rows} rows"
        return [(few, False)]
    return [
        fault
        for fairness in evaluation.fairness
        for group in fairness.groups
        if group.value != fairness.reference
        for fault in _unfair_group(group, f"where {fairness.column} = {group.value} beside {fairness.reference}", gate.fairness)
    ]


def _unfair_group(group: Group, where: str, limits: FairnessLimits) -> list[tuple[str, bool]]:
    found = []
    differences: tuple[tuple[str, Rate, float | None], ...] = (
        ("selection rate", "selection_rate", limits.demographic_parity_max),
        ("true positive rate", "true_positive_rate", limits.equal_opportunity_max),
    )
    for name, rate, limit in differences:
        gap = group.gaps.get(rate)
        if limit is None:
            continue
        if gap is None:
            found.append((f"{name} cannot be judged {where}: too few rows to go by", False))
        elif abs(gap.value) > limit:
            shown = gap.low < gap.high and (gap.low > limit or gap.high < -limit)
            found.append((f"{name} differs {where}: {gap.signed()}, at most {limit:g} may be{_not_sure(shown)}", shown))
    least, ratio = limits.disparate_impact_min, group.ratio
    if least is None:
        return found
    if ratio is None:  # nobody of the reference is selected, or too few rows
        found.append((f"ratio of selection rates cannot be judged {where}: nobody is selected there, or too few rows", False))
    elif not least <= ratio.value <= 1 / least:
        shown = ratio.low < ratio.high and (ratio.high < least or ratio.low > 1 / least)
        found.append((f"ratio of selection rates {where}: {ratio}, allowed are {least:g} to {1 / least:.3g}{_not_sure(shown)}", shown))
    return found


def _not_sure(shown: bool) -> str:
    return "" if shown else "; so few rows do not show it for sure"


def _formers(evaluation: Evaluation) -> list[tuple[str, Comparison]]:
    """The champion, and the best there was where that is another."""
    named = (("champion", evaluation.champion), ("the best champion there was,", evaluation.best))
    return [(name, former) for name, former in named if former is not None]


def _worse(evaluation: Evaluation, gate: GateSpec) -> list[str]:
    return [
        f"worse than {name} {former.champion} by {figure(-former.gain.value)} on {_rows(evaluation)}, gain {former.gain.signed()}"
        for name, former in _formers(evaluation)
        if former.gain.high < -gate.margin
    ]


def _worse_slices(evaluation: Evaluation, gate: GateSpec) -> list[str]:
    """Slices shown to be worse by more than `slice_drop_max`. Many looks find something by chance: Holm 1979 corrects for their number."""
    compared = sorted((each for each in evaluation.slices if each.p is not None), key=lambda each: each.p or 0.0)
    worse = list(takewhile(lambda at: (compared[at].p or 0.0) <= (1 - evaluation.confidence) / (len(compared) - at), range(len(compared))))
    name = KINDS[evaluation.primary].name
    return [
        f"worse where {each}: {name} {each.challenger}, champion {each.champion}, on {each.rows:,} rows; at most {gate.slice_drop_max:g} may be lost "
        f"(one of {len(compared)} slices, p = {each.p:.2g})"
        for each in (compared[at] for at in worse)
    ]


def _too_few(evaluation: Evaluation, gate: GateSpec) -> list[str]:
    if evaluation.rows < gate.min_rows:
        return [f"{evaluation.rows:,} rows held out, gate.min_rows asks for {gate.min_rows:,}"]
    if evaluation.resampled.by == "row" and evaluation.rows < FEWEST_ROWS:
        return [f"{evaluation.rows:,} rows held out: below {FEWEST_ROWS} single rows bounds say nothing"]
    return []


def _not_shown(evaluation: Evaluation, gate: GateSpec, waiver: Waiver | None) -> list[str]:
    if evaluation.unreadable is not None and waiver is None:
        way_out = (
            f"; tidemill waive {' '.join(evaluation.champion_name.split('/'))} lets later ones be judged without it"
            if evaluation.champion_name
            else ""
        )
        return [f"the champion cannot score these rows, so that nothing was compared: {evaluation.unreadable}{way_out}"]
    return [
        f"not shown to be as good as {name} {former.champion} within {gate.margin:g} on {_rows(evaluation)}, gain {former.gain.signed()}"
        for name, former in _formers(evaluation)
        if former.gain.low <= -gate.margin and not _equal(former)
    ]


def _equal(champion: Comparison) -> bool:
    """The same answers on every draw: an equal model may take over whatever the margin."""
    return champion.gain.value == champion.gain.low == champion.gain.high == 0


def _fallen(evaluation: Evaluation, before: Interval | None) -> list[str]:
    if evaluation.champion is None or before is None:
        return []
    now, higher = evaluation.champion.scores[evaluation.primary], KINDS[evaluation.primary].higher
    if not (now.high < before.low if higher else now.low > before.high):
        return []
    return [
        f"champion {evaluation.champion.champion} itself went from {KINDS[evaluation.primary].name} {before} to {now}: "
        "the world has changed, or labels of the new rows are wrong"
    ]


def _floors_met(evaluation: Evaluation, gate: GateSpec) -> list[str]:
    sides = {metric: "meets the floor" if KINDS[metric].higher else "is within the limit" for metric in gate.floor}
    return [f"{named(metric, evaluation.challenger)} {sides[metric]} {floor:g}" for metric, floor in gate.floor.items()]


def _looked_at(looks: int) -> list[str]:
    if not looks:
        return []
    return [f"these held-out rows judged {looks} model{'s' * (looks > 1)} before: the more often, the more their figures flatter"]


def _beside_champions(evaluation: Evaluation, waiver: Waiver | None) -> list[str]:
    if waiver is not None and evaluation.unreadable is not None:
        unseen = [f"not compared with champion {waiver.package}: {evaluation.unreadable}; waived by {waiver.actor}: {waiver.reason}"]
    else:
        unseen = [] if evaluation.champion is not None else ["no champion yet"]
    primary, mine = evaluation.primary, evaluation.challenger[evaluation.primary].value
    return unseen + [
        f"{KINDS[primary].name} {mine:.4g} vs {name} {former.champion} {former.scores[primary].value:.4g} on {_rows(evaluation)}, "
        f"gain {former.gain.signed()}"
        for name, former in _formers(evaluation)
    ]


def _rows(evaluation: Evaluation) -> str:
    return f"the same {evaluation.rows:,} rows"
