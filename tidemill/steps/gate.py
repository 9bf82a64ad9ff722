"""gate: decide on the evaluation, and write the decision down with its reasons."""

from typing import Any

from tidemill import keys
from tidemill.evaluate.record import Evaluation, Interval
from tidemill.events import GateRequest
from tidemill.gate import decide
from tidemill.ports import Ledger, Store
from tidemill.steps.pinned import pinned_spec


def gate_run(request: GateRequest, *, ledger: Ledger, lake: Store) -> dict[str, Any]:
    """The decision, recorded on the run and in the decision log once, however often this is called."""
    run = ledger.run(request.model, request.epoch)
    spec = pinned_spec(run.model, run.code_hash, lake)
    evaluation = Evaluation.model_validate_json(lake.get(request.evaluation))
    decision = decide(evaluation, spec.gate, _before(evaluation, ledger, lake))
    if run.decision is None:
        ledger.log(
            time=request.now, model=run.model, kind="gate", subject=f"run {keys.run_id(run.epoch)}", actor="system",
            decision=decision.outcome, reasons=decision.reasons, inputs={"evaluation": lake.uri(request.evaluation), "spec": f"sha256:{run.spec_hash}"},
        )  # fmt: skip
        ledger.put_run(
            run.model_copy(update={"evaluation": request.evaluation, "decision": decision.outcome, "reasons": (*run.reasons, *decision.reasons)})
        )
    return {"decision": decision.outcome, "reasons": list(decision.reasons)}


def _before(evaluation: Evaluation, ledger: Ledger, lake: Store) -> Interval | None:
    """The champion's own primary metric when it was registered, if the same one judged it."""
    if evaluation.champion is None:
        return None
    package = ledger.package(evaluation.model, int(evaluation.champion.champion.rpartition("/")[2]))
    registered = Evaluation.model_validate_json(lake.get(package.evaluation))
    return registered.challenger.metrics.get(evaluation.primary)
