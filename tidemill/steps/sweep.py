"""sweep: the end of a run for executions that did not reach theirs, and a tick for uploads whose own was lost."""

from dataclasses import dataclass

from tidemill import keys
from tidemill.events import Failure, FinishRequest, SweepEvent
from tidemill.ports import Ledger, Models, Ticks, Workflow
from tidemill.records import Execution
from tidemill.steps.finish import Finished, finish_run

GONE = "GONE"


@dataclass(frozen=True)
class Swept:
    """idle | alive | ticked | buried, of one model."""

    outcome: str
    model: str
    execution: str | None = None
    finished: Finished | None = None


def sweep(event: SweepEvent, *, ledger: Ledger, models: Models, workflow: Workflow, ticks: Ticks) -> list[Swept]:
    """Look after the model whose execution ended badly; when no execution is named (the schedule), after every model."""
    names = [event.model] if event.model is not None else models.names()
    return [_look_after(model, event, ledger, workflow, ticks) for model in names]


def _look_after(model: str, event: SweepEvent, ledger: Ledger, workflow: Workflow, ticks: Ticks) -> Swept:
    """The execution that matters holds the lease, or has the name that the next run needs.

    One that has ended is finished for it. One that never was means an idle model: what waits there gets a tick.
    """
    lease = ledger.lease(model)
    epoch = lease.epoch if lease.owner else lease.epoch + 1
    arn = lease.owner or workflow.execution(keys.execution_name(model, epoch))
    execution = _known(arn, event, workflow)
    if execution is None and lease.owner is None:
        return _tick(model, ledger, ticks)
    if execution is not None and execution.alive:
        return Swept("alive", model, arn)
    ended = execution or Execution(arn=arn, status=GONE, cause="Step Functions does not know it any more")
    return Swept("buried", model, arn, finish_run(_end(model, epoch, ended, event), ledger=ledger, ticks=ticks))


def _known(arn: str, event: SweepEvent, workflow: Workflow) -> Execution | None:
    """What the event says of it, for DescribeExecution may be behind; else what Step Functions answers."""
    told = event.execution
    return told if told is not None and told.arn == arn else workflow.look(arn)


def _tick(model: str, ledger: Ledger, ticks: Ticks) -> Swept:
    if ledger.waiting(model) is None:
        return Swept("idle", model)
    ticks.send(model, 0)
    return Swept("ticked", model)


def _end(model: str, epoch: int, ended: Execution, event: SweepEvent) -> FinishRequest:
    cause = ": ".join(part for part in (ended.error, ended.cause) if part) or "no cause was given"
    failure = Failure(state="Execution", error=ended.status, cause=cause)
    started = ended.started_at or event.time
    return FinishRequest(model=model, epoch=epoch, execution=ended.arn, failure=failure, started_at=started, now=event.time)
