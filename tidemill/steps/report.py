"""The page of a judged run, and two runs side by side: read from the record."""

from tidemill import keys, runs
from tidemill.dataset import DatasetSummary
from tidemill.errors import ObjectMissing, RecordMissing
from tidemill.evaluate.record import Evaluation
from tidemill.gate import Decision
from tidemill.ports import Ledger, Store
from tidemill.records import Run
from tidemill.runs import Compared, Judged
from tidemill.steps.pinned import pinned_spec

UPLOADS = 20


def write_report(run: Run, decision: Decision, evaluation: Evaluation, *, ledger: Ledger, lake: Store) -> str:
    """Write the page; its key in the lake."""
    from tidemill.report.page import Story, page  # jinja2 is nothing for every start of a function

    mine = Judged(run, pinned_spec(run.model, run.code_hash, lake), evaluation, _summary(run, lake))
    before = _before(run, ledger)
    story = Story(
        run=run, question=mine.spec.question, outcome=decision.outcome, reasons=decision.reasons, evaluation=evaluation,
        uploads=tuple(ledger.upload(run.model, upload).key for upload in run.uploads[:UPLOADS]), brought=len(run.uploads), covers=_covers(mine),
        since=None if before is None else runs.compare(judged(before, lake=lake), mine),
    )  # fmt: skip
    key = keys.report(run.model, keys.run_id(run.epoch))
    lake.put(key, page(story).encode())
    return key


def compared(model: str, before: int, after: int, *, ledger: Ledger, lake: Store) -> Compared:
    """Two runs by their numbers. Raises RecordMissing for one that is not there or was never judged."""
    return runs.compare(*(judged(ledger.run(model, epoch), lake=lake) for epoch in (before, after)))


def judged(run: Run, *, lake: Store) -> Judged:
    """Raises RecordMissing for a run that ended before its model was evaluated."""
    if run.evaluation is None:
        raise RecordMissing(f"run {keys.run_id(run.epoch)} of {run.model} judged no model: it ended as {run.outcome or 'not yet ended'}")
    evaluation = Evaluation.model_validate_json(lake.get(run.evaluation))
    return Judged(run, pinned_spec(run.model, run.code_hash, lake), evaluation, _summary(run, lake))


def _before(run: Run, ledger: Ledger) -> Run | None:
    earlier = [other for other in ledger.runs(run.model) if other.epoch < run.epoch and other.evaluation is not None]
    return earlier[-1] if earlier else None


def _summary(run: Run, lake: Store) -> DatasetSummary | None:
    try:
        return DatasetSummary.model_validate_json(lake.get(keys.dataset_summary(run.model, str(run.dataset))))
    except ObjectMissing:
        return None


def _covers(mine: Judged) -> str:
    if mine.summary is None:
        return "no summary is left"
    rows, parts = mine.summary.rows, mine.summary.parts
    sides = f"{rows['train']:,} rows to learn from, {rows['validation']:,} to choose by, {rows['test']:,} to judge by"
    return f"window {mine.summary.window}, {parts:,} part{'s' * (parts != 1)}: {sides}"
