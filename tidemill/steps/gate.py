"""gate: decide on the evaluation, write the decision down with its reasons, and the page that shows them."""

from typing import Any

from tidemill import keys
from tidemill.evaluate.record import Evaluation, Interval
from tidemill.events import GateRequest
from tidemill.gate import Decision, decide
from tidemill.ports import Ledger, Store
from tidemill.records import Run
from tidemill.steps.pinned import pinned_spec
from tidemill.steps.report import write_report


def gate_run(request: GateRequest, *, ledger: Ledger, lake: Store) -> dict[str, Any]:
    """The decision, recorded on the run and in the decision log once, however often this is called."""
    run = ledger.run(request.model, request.epoch)
    spec = pinned_spec(run.model, run.code_hash, lake)
    evaluation = Evaluation.model_validate_json(lake.get(request.evaluation))
    waiver = ledger.waiver(run.model, evaluation.champion_name) if evaluation.champion_name else None
    decision = decide(evaluation, spec.gate, _before(evaluation, ledger, lake), looks(run, evaluation, ledger), waiver)
    if run.decision is None:
        ledger.log(
            time=request.now, model=run.model, kind="gate", subject=f"run {keys.run_id(run.epoch)}", actor="system",
            decision=decision.outcome, reasons=decision.reasons, inputs={"evaluation": lake.uri(request.evaluation), "spec": f"sha256:{run.spec_hash}"},
        )  # fmt: skip
        ledger.put_run(
            run.model_copy(
                update={
                    "evaluation": request.evaluation, "holdout": evaluation.holdout, "decision": decision.outcome,
                    "reasons": (*run.reasons, *decision.reasons),
                }
            )
        )  # fmt: skip
    page = _page(ledger.run(run.model, run.epoch), decision, evaluation, ledger, lake)
    return {"decision": decision.outcome, "reasons": list(decision.reasons), **page}


def _page(run: Run, decision: Decision, evaluation: Evaluation, ledger: Ledger, lake: Store) -> dict[str, str]:
    """Where the page is, or why there is none: what is decided and on record does not depend on how it is shown."""
    try:
        return {"report": lake.uri(write_report(run, decision, evaluation, ledger=ledger, lake=lake))}
    except Exception as error:  # the function logs it as an error
        return {"report_failed": f"{type(error).__name__}: {error}"}


def looks(run: Run, evaluation: Evaluation, ledger: Ledger) -> int:
    """How many earlier runs were judged by the very rows that judge this one."""
    if not evaluation.holdout:
        return 0
    return sum(other.holdout == evaluation.holdout for other in ledger.runs(run.model) if other.epoch < run.epoch)


def _before(evaluation: Evaluation, ledger: Ledger, lake: Store) -> Interval | None:
    """The champion's own primary metric when it was registered, if the same one judged it."""
    if evaluation.champion is None:
        return None
    package = ledger.package(evaluation.model, int(evaluation.champion.champion.rpartition("/")[2]))
    registered = Evaluation.model_validate_json(lake.get(package.evaluation))
    return registered.challenger.metrics.get(evaluation.primary)
