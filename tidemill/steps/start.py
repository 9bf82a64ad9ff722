"""start: a tick is due. Begin a run if the quiet window is over and the model is idle."""

from dataclasses import dataclass
from datetime import datetime

from tidemill import keys
from tidemill.errors import AlreadyRunning
from tidemill.ports import Ledger, ModelEntry, Models, Workflow
from tidemill.records import Upload

MAX_SKIPS = 10


@dataclass(frozen=True)
class Started:
    """nothing_pending | quiet_window | busy | started."""

    outcome: str
    model: str
    execution: str | None = None


def start(model: str, now: str, *, ledger: Ledger, models: Models, workflow: Workflow) -> Started:
    """Start the next epoch's execution. Its name is used once in the account, so two ticks cannot start two runs.

    A tick that finds the model busy is dropped: finish looks again after it has released the lease.
    """
    waiting = [upload for upload in ledger.uploads(model) if upload.state == "pending"]
    if not waiting:
        return Started("nothing_pending", model)
    if not window_over(waiting, models.entry(model), now):
        return Started("quiet_window", model)
    lease = ledger.lease(model)
    if lease.owner is not None:
        if workflow.running(lease.owner):
            return Started("busy", model, lease.owner)
        ledger.release_lease(model, lease.epoch, lease.owner)
    return _start(model, lease.epoch + 1, ledger, workflow)


def window_over(waiting: list[Upload], entry: ModelEntry, now: str) -> bool:
    """True when the last upload is quiet_s old or the first max_wait_s. SQS delays whole seconds, so no slack is needed."""
    last, first = _age_s(waiting[-1], now), _age_s(waiting[0], now)
    return last >= entry.quiet_s or first >= entry.max_wait_s


def _age_s(upload: Upload, now: str) -> float:
    return (datetime.fromisoformat(now) - datetime.fromisoformat(upload.received_at)).total_seconds()


def _start(model: str, epoch: int, ledger: Ledger, workflow: Workflow) -> Started:
    for number in range(epoch, epoch + MAX_SKIPS):
        name = keys.execution_name(model, number)
        try:
            return Started("started", model, workflow.start(name, {"model": model, "epoch": number, "cause": "upload"}))
        except AlreadyRunning:
            execution = workflow.execution(name)
            if workflow.running(execution):
                return Started("busy", model, execution)
            # It ended before it claimed: its name is spent, so its number is too.
            ledger.skip_epoch(model, number)
    return Started("busy", model)
