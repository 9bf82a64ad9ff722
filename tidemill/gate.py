"""gate: may this challenger go live? A pure decision with reasons that a person understands."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from tidemill.evaluate.record import Evaluation
from tidemill.spec import GateSpec


class Decision(BaseModel):
    """promote or reject, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    outcome: Literal["promote", "reject"]
    reasons: tuple[str, ...]


def decide(evaluation: Evaluation, gate: GateSpec) -> Decision:
    """Reject below the floor, or when the challenger cannot be shown to be no worse than the champion by more than the margin.

    Non-inferiority: the lower bound of the paired interval of (challenger − champion) must lie above −margin.
    """
    faults = [*_below_floor(evaluation, gate), *_worse_than_champion(evaluation, gate)]
    if faults:
        return Decision(outcome="reject", reasons=tuple(faults))
    return Decision(outcome="promote", reasons=(*_floors_met(evaluation, gate), _beside_champion(evaluation)))


def _below_floor(evaluation: Evaluation, gate: GateSpec) -> list[str]:
    auc = evaluation.challenger.roc_auc
    return [f"AUC {auc} is below the floor {floor:g}" for floor in gate.floor.values() if not auc.value >= floor]


def _worse_than_champion(evaluation: Evaluation, gate: GateSpec) -> list[str]:
    if evaluation.champion is None or evaluation.champion.difference.low > -gate.margin:
        return []
    champion, rows = evaluation.champion, f"the same {evaluation.rows:,} rows"
    if champion.difference.high < 0:
        return [
            f"worse than champion {champion.champion} by {_positive(champion.difference.value)} on {rows}, difference {champion.difference.signed()}"
        ]
    return [f"not shown to be as good as champion {champion.champion} within {gate.margin:g} on {rows}, difference {champion.difference.signed()}"]


def _positive(value: float) -> str:
    return f"{-value:.3f}"


def _floors_met(evaluation: Evaluation, gate: GateSpec) -> list[str]:
    return [f"AUC {evaluation.challenger.roc_auc} meets the floor {floor:g}" for floor in gate.floor.values()]


def _beside_champion(evaluation: Evaluation) -> str:
    if evaluation.champion is None:
        return "no champion yet"
    c = evaluation.champion
    mine, theirs = evaluation.challenger.roc_auc.value, c.scores.roc_auc.value
    return f"AUC {mine:.3f} vs champion {c.champion} {theirs:.3f} on the same {evaluation.rows:,} rows, difference {c.difference.signed()}"
