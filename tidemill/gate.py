"""gate: may this challenger go live? A pure decision with reasons that a person understands."""

from itertools import takewhile
from typing import Literal

from pydantic import BaseModel, ConfigDict

from tidemill.evaluate.record import Comparison, Evaluation, Interval, figure, named
from tidemill.metric import KINDS, Metric
from tidemill.spec import GateSpec

Outcome = Literal["promote", "hold", "reject"]


class Decision(BaseModel):
    """promote; reject: it was shown to be too bad; hold: nothing speaks against it, but too little for it. The champion stays in both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: Outcome
    reasons: tuple[str, ...]


def decide(evaluation: Evaluation, gate: GateSpec, before: Interval | None = None) -> Decision:
    """Floors, then non-inferiority: the challenger's one-sided bound must lie within the margin of the champion.

    `before`: the champion's primary metric when it was registered. That it has fallen changes no decision; it tells a person that the
    new rows, not the model, may be at fault.
    """
    against = [*_beyond_floors(evaluation, gate), *_worse(evaluation, gate), *_worse_slices(evaluation, gate)]
    if against:
        return Decision(outcome="reject", reasons=(*against, *_fallen(evaluation, before)))
    if short := [*_too_few(evaluation, gate), *_not_shown(evaluation, gate)]:
        return Decision(outcome="hold", reasons=(*short, *_fallen(evaluation, before)))
    return Decision(outcome="promote", reasons=(*_floors_met(evaluation, gate), *_beside_champion(evaluation)))


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


def _worse(evaluation: Evaluation, gate: GateSpec) -> list[str]:
    champion = evaluation.champion
    if champion is None or champion.gain.high >= -gate.margin:
        return []
    return [f"worse than champion {champion.champion} by {figure(-champion.gain.value)} on {_rows(evaluation)}, gain {champion.gain.signed()}"]


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
    if evaluation.rows >= gate.min_rows:
        return []
    return [f"{evaluation.rows:,} rows held out, gate.min_rows asks for {gate.min_rows:,}"]


def _not_shown(evaluation: Evaluation, gate: GateSpec) -> list[str]:
    if evaluation.unreadable is not None:
        return [f"the champion cannot score these rows, so that nothing was compared: {evaluation.unreadable}"]
    champion = evaluation.champion
    if champion is None or champion.gain.low > -gate.margin or _equal(champion):
        return []
    return [f"not shown to be as good as champion {champion.champion} within {gate.margin:g} on {_rows(evaluation)}, gain {champion.gain.signed()}"]


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


def _beside_champion(evaluation: Evaluation) -> list[str]:
    champion, primary = evaluation.champion, evaluation.primary
    if champion is None:
        return ["no champion yet"]
    mine, theirs = evaluation.challenger[primary].value, champion.scores[primary].value
    name = KINDS[primary].name
    return [f"{name} {mine:.4g} vs champion {champion.champion} {theirs:.4g} on {_rows(evaluation)}, gain {champion.gain.signed()}"]


def _rows(evaluation: Evaluation) -> str:
    return f"the same {evaluation.rows:,} rows"
