"""`tidemill runs`: what training runs found and decided, alone and side by side."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from tidemill import keys
from tidemill.cli.render import NONE, SHORT, became, minute
from tidemill.cli.stage import AsJson, Model, Stage, StageName, console, echo_json, printable, table
from tidemill.evaluate.record import Interval
from tidemill.metric import KINDS
from tidemill.records import Run
from tidemill.runs import Compared, Judged
from tidemill.steps import report as reports

app = typer.Typer(no_args_is_help=True, help="Training runs: what they found and decided.")

Number = Annotated[int, typer.Argument(metavar="RUN", min=1, help="A run's number.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many to show, newest first.")]


@app.command("list")
def list_runs(model: Model, limit: Limit = 20, stage: StageName = "dev", as_json: AsJson = False) -> None:
    """The runs of a model, newest first, with the first reason for how each ended."""
    found = list(reversed(Stage.of(stage).ledger.runs(model)))[:limit]
    if as_json:
        echo_json([_run(run) for run in found])
        return
    if not found:
        console().print(f"{model}: no run yet")
        return
    shown = table("run", "started", "cause", "decision", "became", "because", fill="because")
    for run in found:
        because = printable(run.reasons[0]) if run.reasons else NONE
        shown.add_row(keys.run_id(run.epoch), minute(run.started_at), run.cause, run.decision or NONE, became(run), because)
    console().print(shown)


@app.command()
def show(model: Model, run: Number, stage: StageName = "dev", as_json: AsJson = False) -> None:
    """One run: what it decided, why, and the figures that it rests on."""
    at = Stage.of(stage)
    record = at.ledger.run(model, run)
    if as_json:
        echo_json(_run(record) | {"evaluation": _masked(reports.judged(record, lake=at.lake)) if record.evaluation else None})
        return
    out = console()
    out.print(f"run       {keys.run_id(record.epoch)}, {minute(record.started_at)}, cause: {record.cause}")
    out.print(f"became    {became(record)}")
    out.print(f"dataset   {record.dataset or NONE}")
    out.print(f"spec      {record.spec_hash[:SHORT]}, code {record.code_hash[:SHORT]}")
    for reason in record.reasons:
        out.print(f"- {printable(reason)}", soft_wrap=True)
    if record.evaluation is None:
        return
    found = reports.judged(record, lake=at.lake).evaluation
    out.print(f"\non {found.rows:,} held-out rows of {found.period}, {found.confidence:.0%} bounds by {found.resampled.by}")
    models = [("challenger", found.challenger), ("linear", found.baseline)]
    models += [(former.champion, former.scores) for former in (found.champion, found.best) if former is not None]
    figures = table("metric", *(name for name, _ in models))
    for metric in found.challenger.metrics:
        figures.add_row(KINDS[metric].name, *(str(scores.metrics.get(metric, NONE)) for _, scores in models))
    out.print(figures)
    for warning in found.warnings:
        out.print(f"note: {printable(warning)}", soft_wrap=True)


@app.command()
def report(
    model: Model,
    run: Number,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="File to write; <model>-<run>.html here when not given.")] = None,
    stage: StageName = "dev",
) -> None:
    """Fetch the page of a run that judged a model: one HTML file that needs nothing beside it."""
    at = Stage.of(stage)
    reports.judged(at.ledger.run(model, run), lake=at.lake)  # says what is wrong with a run that has none
    target = out or Path(f"{model}-{keys.run_id(run)}.html")
    target.write_bytes(at.lake.get(keys.report(model, keys.run_id(run))))
    typer.echo(f"{target}: open it in a browser")


@app.command()
def compare(
    model: Model,
    before: Annotated[int, typer.Argument(metavar="A", min=1, help="The older run's number.")],
    after: Annotated[int, typer.Argument(metavar="B", min=1, help="The newer one's.")],
    stage: StageName = "dev",
    as_json: AsJson = False,
) -> None:
    """Two runs side by side: spec, code, data, and what the models could do."""
    at = Stage.of(stage)
    found = reports.compared(model, before, after, ledger=at.ledger, lake=at.lake)
    if as_json:
        echo_json(_compared(found))
        return
    _show(console(), found)


@app.command()
def export(
    model: Model,
    run: Number,
    to: Annotated[str | None, typer.Option("--to", help="An MLflow server's address, or an ARN on SageMaker; model.toml's when not given.")] = None,
    stage: StageName = "dev",
) -> None:
    """Tell an MLflow server of a run that has ended. Told before, it is the same run there."""
    from tidemill.adapters.mlflow import MlflowServer
    from tidemill.events import RunRef
    from tidemill.steps.export import export_run

    at = Stage.of(stage)
    done = export_run(RunRef(model=model, epoch=run), stage, ledger=at.ledger, lake=at.lake, server=MlflowServer, to=to)
    typer.echo(
        f"run {keys.run_id(run)} of {model} is run {done['mlflow_run']} of experiment {done['experiment']} on {done['server']}"
        if done else f"run {keys.run_id(run)} of {model} ended before it had anything to learn from: there is nothing to tell"
    )  # fmt: skip


def _show(out: Console, found: Compared) -> None:
    mine, theirs = found.before, found.after
    names = tuple(keys.run_id(each.run.epoch) for each in (mine, theirs))
    shown = table("", *names, fill=names[1])
    for name, old, new in _facts(found):
        shown.add_row(name, old, "the same" if old == new else new)
    out.print(shown)
    out.print(f"\n{'on the same held-out rows' if found.same_rows else 'each on its own held-out rows: not to be subtracted'}")
    figures = table("metric", *names)
    for metric, pair in found.metrics.items():
        figures.add_row(KINDS[metric].name, *map(_told, pair))
    out.print(figures)
    out.print("\nspec" + ("" if found.spec else ": the same"))
    for change in found.spec:
        out.print(f"  {change.key}: {printable(change.before or 'not set')} → {printable(change.after or 'not set')}", soft_wrap=True)


def _masked(judged: Judged) -> dict[str, Any]:
    """The evaluation, without what its golden rows hold in sensitive columns."""
    found = judged.evaluation.model_dump(mode="json")
    for golden in found["golden"]:
        hidden = {name: "***" for name, value in golden["instance"].items() if value is not None and judged.spec.columns[name].sensitive}
        golden["instance"] |= hidden
    return found


def _told(interval: Interval | None) -> str:
    return NONE if interval is None else str(interval)


def _facts(found: Compared) -> list[tuple[str, str, str]]:
    def both(name: str, tell: Any) -> tuple[str, str, str]:
        return name, tell(found.before), tell(found.after)

    return [
        both("became", lambda each: became(each.run)),
        both("decision", lambda each: each.run.decision or NONE),
        both("dataset", lambda each: str(each.run.dataset)[:SHORT]),
        both("learned from", lambda each: f"{each.summary.rows['train']:,} rows, {each.summary.periods['train']}" if each.summary else NONE),
        both("held out", lambda each: f"{each.evaluation.rows:,} rows, {each.evaluation.period}"),
        both("code", lambda each: each.run.code_hash[:SHORT]),
        both("model size", lambda each: f"{each.evaluation.size_bytes / 1e6:.2f} MB" if each.evaluation.size_bytes else NONE),
        both("one row takes", lambda each: f"{each.evaluation.latency_ms:.3g} ms" if each.evaluation.latency_ms else NONE),
    ]


def _run(run: Run) -> dict[str, Any]:
    return {"run": keys.run_id(run.epoch), **run.model_dump(mode="json", exclude={"epoch"})}


def _compared(found: Compared) -> dict[str, Any]:
    def dump(interval: Interval | None) -> dict[str, float] | None:
        return None if interval is None else interval.model_dump()

    return {
        "runs": [_run(each.run) for each in (found.before, found.after)],
        "same_rows": found.same_rows, "same_code": found.same_code, "same_dataset": found.same_dataset,
        "metrics": {metric: [dump(each) for each in pair] for metric, pair in found.metrics.items()},
        "spec": {change.key: [change.before, change.after] for change in found.spec},
    }  # fmt: skip
