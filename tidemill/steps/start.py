"""start: a tick is due. Begin a run if the quiet window is over and the model is idle."""

from dataclasses import dataclass
from datetime import datetime

from tidemill import keys
from tidemill.errors import AlreadyRunning
from tidemill.ports import Ledger, ModelEntry, Models, Workflow
from tidemill.records import Waiting


@dataclass(frozen=True)
class Started:
    """nothing_waits | quiet_window | busy | started."""

    outcome: str
    model: str
    execution: str | None = None


def start(model: str, now: str, *, ledger: Ledger, models: Models, workflow: Workflow) -> Started:
    """Start the next epoch's execution. Its name is used once in the account, so two ticks cannot start two runs.

    A tick that finds the model busy is dropped: finish looks again after it has released the lease, and sweep does so
    for an execution that did not get there, also for one that died before it took the lease.
    """
    lease = ledger.lease(model)
    if lease.owner is not None:
        return Started("busy", model, lease.owner)
    waiting = ledger.waiting(model)
    if waiting is None:
        return Started("nothing_waits", model)
    if not window_over(waiting, models.entry(model), now):
        return Started("quiet_window", model)
    epoch = lease.epoch + 1
    name = keys.execution_name(model, epoch)
    try:
        return Started("started", model, workflow.start(name, {"model": model, "epoch": epoch, "cause": "upload"}))
    except AlreadyRunning:
        return Started("busy", model, workflow.execution(name))


def window_over(waiting: Waiting, entry: ModelEntry, now: str) -> bool:
    """True when the last upload is quiet_s old or the first max_wait_s. SQS delays whole seconds, so no slack is needed.

    Each upload has a tick of its own, due when its quiet window (at most 900 s, what SQS can delay) is over; so the
    first that comes after max_wait_s, however long that is, begins the run.
    """
    return _age_s(waiting.last, now) >= entry.quiet_s or _age_s(waiting.first, now) >= entry.max_wait_s


def _age_s(moment: str, now: str) -> float:
    return (datetime.fromisoformat(now) - datetime.fromisoformat(moment)).total_seconds()
