"""gate: decide on the evaluation, and write the decision down with its reasons."""

from typing import Any

from tidemill import keys
from tidemill.evaluate.record import Evaluation
from tidemill.events import GateRequest
from tidemill.gate import decide
from tidemill.ports import Ledger, Store
from tidemill.steps.pinned import pinned_spec


def gate_run(request: GateRequest, *, ledger: Ledger, lake: Store) -> dict[str, Any]:
    """The decision, recorded on the run and in the decision log once, however often this is called."""
    run = ledger.run(request.model, request.epoch)
    spec = pinned_spec(run.model, run.code_hash, lake)
    decision = decide(Evaluation.model_validate_json(lake.get(request.evaluation)), spec.gate)
    if run.decision is None:
        ledger.log(
            time=request.now, model=run.model, kind="gate", subject=f"run {keys.run_id(run.epoch)}", actor="system",
            decision=decision.outcome, reasons=decision.reasons, inputs={"evaluation": lake.uri(request.evaluation), "spec": f"sha256:{run.spec_hash}"},
        )  # fmt: skip
        ledger.put_run(
            run.model_copy(update={"evaluation": request.evaluation, "decision": decision.outcome, "reasons": (*run.reasons, *decision.reasons)})
        )
    return {"decision": decision.outcome, "reasons": list(decision.reasons)}
