"""finish: write how the run ended, release the lease, then look once more for uploads that came meanwhile."""

from typing import Any

from tidemill import keys
from tidemill.errors import RecordMissing
from tidemill.events import FinishRequest
from tidemill.ports import Ledger, Ticks
from tidemill.records import Run


def finish_run(request: FinishRequest, *, ledger: Ledger, ticks: Ticks) -> dict[str, Any]:
    """Runs at the end of every run, also after a failure. The pending uploads are read after the lease is free.

    Uploads that came during the run found the model busy and their ticks were dropped, so one tick is sent for them.
    After a failure only they count: what was pending before would fail the same way, in a loop.
    """
    outcome = "failed" if request.failure else request.outcome
    reasons = _record(request, outcome, ledger)
    ledger.release_lease(request.model, request.epoch, request.execution)
    waiting = [upload for upload in ledger.uploads(request.model) if upload.state == "pending"]
    if request.failure:
        waiting = [upload for upload in waiting if upload.received_at > request.started_at]
    if waiting:
        ticks.send(request.model, 0)
    return {"outcome": outcome, "reasons": reasons, "waiting": len(waiting)}


def _record(request: FinishRequest, outcome: str | None, ledger: Ledger) -> list[str]:
    run = _run(request, ledger)
    reasons = (*run.reasons, str(request.failure)) if request.failure and run.outcome is None else run.reasons
    if run.outcome is None:
        ledger.put_run(run.model_copy(update={"outcome": outcome, "reasons": reasons, "finished_at": request.now}))
        ledger.log(
            time=request.now, model=run.model, kind="run", subject=f"run {keys.run_id(run.epoch)}", actor="system",
            decision=str(outcome), reasons=reasons, inputs={"execution": run.execution},
        )  # fmt: skip
    return list(reasons)


def _run(request: FinishRequest, ledger: Ledger) -> Run:
    """The run's record; a bare one when claim failed before it wrote it."""
    try:
        return ledger.run(request.model, request.epoch)
    except RecordMissing:
        return Run(
            model=request.model, epoch=request.epoch, cause="upload", execution=request.execution, started_at=request.started_at,
            uploads=(), spec_hash="", code_hash="",
        )  # fmt: skip
