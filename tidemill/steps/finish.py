"""finish: write how the run ended, give back what it did not prepare, release the lease, then look for uploads that wait."""

from dataclasses import dataclass

from tidemill import keys
from tidemill.errors import RecordMissing, Superseded
from tidemill.events import FinishRequest
from tidemill.ports import Ledger, Ticks
from tidemill.records import Run, Upload

MAX_ATTEMPTS = 3
FIRST_WAIT_S, LONGEST_WAIT_S = 60, 900


@dataclass(frozen=True)
class Finished:
    """How the run ended; the keys it gave back and parked; how many uploads wait."""

    outcome: str | None
    reasons: tuple[str, ...] = ()
    given_back: tuple[str, ...] = ()
    parked: tuple[str, ...] = ()
    waiting: int = 0


def finish_run(request: FinishRequest, *, ledger: Ledger, ticks: Ticks) -> Finished:
    """Runs at the end of every run, also after a failure, and for an execution that died before it got here (see sweep).

    Safe to repeat, and late: a run that no longer holds the lease writes nothing. One that failed before it held it takes
    it now, so that its epoch is used up and its end is on record. The waiting uploads are read after the lease is free:
    uploads that came during the run found the model busy and their ticks were dropped.
    """
    outcome = "failed" if request.failure else request.outcome
    try:
        ledger.acquire(request.model, request.epoch, request.execution)
    except Superseded:
        return Finished(outcome, waiting=_tick(request, [], ledger, ticks))
    reasons = _record(request, outcome, ledger)
    left = [upload for upload in ledger.open_uploads(request.model) if upload.state == "claimed" and upload.epoch == request.epoch]
    returned = [_give_back(upload, request, ledger) for upload in left]
    ledger.release_lease(request.model, request.epoch, request.execution)
    back = [upload for upload in returned if upload.state == "pending"]
    parked = tuple(upload.key for upload in returned if upload.state == "parked")
    return Finished(outcome, reasons, tuple(upload.key for upload in back), parked, _tick(request, back, ledger, ticks))


def _give_back(upload: Upload, request: FinishRequest, ledger: Ledger) -> Upload:
    """Pending again; after the third attempt parked, on record: one file that kills its runs must not do so for ever."""
    if upload.attempts < MAX_ATTEMPTS:
        back = upload.model_copy(update={"state": "pending", "epoch": None})
    else:
        reason = (
            f"not prepared in {upload.attempts} attempts; the last, run {keys.run_id(request.epoch)}, ended with {request.failure or request.outcome}"
        )
        back = upload.model_copy(update={"state": "parked", "epoch": None, "reason": reason})
        ledger.log(
            time=request.now, model=upload.model, kind="upload", subject=upload.key, actor="system", decision="park",
            reasons=(reason,), inputs={"upload": upload.id, "run": keys.run_id(request.epoch)},
        )  # fmt: skip
    ledger.give_back(back, request.epoch)
    return back


def _tick(request: FinishRequest, back: list[Upload], ledger: Ledger, ticks: Ticks) -> int:
    """At once for what came during the run, after a while for what it gave back: each time it is given back, longer.

    After a failure that took no upload along there is nothing that counts the attempts; what waited before then waits for
    the sweeper's tick or the next upload's, so that it does not fail in a tight loop.
    """
    waiting = ledger.open_uploads(request.model)
    tried = {upload.id: upload.attempts for upload in back}
    fresh = [upload for upload in waiting if upload.id not in tried and (request.failure is None or upload.received_at > request.started_at)]
    if fresh:
        ticks.send(request.model, 0)
    if tried:
        ticks.send(request.model, min(LONGEST_WAIT_S, FIRST_WAIT_S * 4 ** (max(tried.values()) - 1)))
    return len(waiting)


def _record(request: FinishRequest, outcome: str | None, ledger: Ledger) -> tuple[str, ...]:
    """The log first: when this is repeated, a line that is there twice is better than none."""
    run = _run(request, ledger)
    if run.outcome is not None:
        return run.reasons
    reasons = (*run.reasons, str(request.failure)) if request.failure else run.reasons
    ledger.log(
        time=request.now, model=run.model, kind="run", subject=f"run {keys.run_id(run.epoch)}", actor="system",
        decision=str(outcome), reasons=reasons, inputs={"execution": run.execution},
    )  # fmt: skip
    ledger.put_run(run.model_copy(update={"outcome": outcome, "reasons": reasons, "finished_at": request.now}))
    return reasons


def _run(request: FinishRequest, ledger: Ledger) -> Run:
    """The run's record; a bare one when claim failed before it wrote it."""
    try:
        return ledger.run(request.model, request.epoch)
    except RecordMissing:
        return Run(
            model=request.model, epoch=request.epoch, cause="upload", execution=request.execution, started_at=request.started_at,
            uploads=(), spec_hash="", code_hash="",
        )  # fmt: skip
