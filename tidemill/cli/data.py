"""`tidemill data`: what was learned from, where it came from, and what must not be learned from again."""

from pathlib import Path
from typing import Annotated

import typer

from tidemill import keys
from tidemill.cli import render
from tidemill.cli.stage import AsJson, Model, Stage, StageName, console, echo_json, now
from tidemill.errors import CheckoutRefused
from tidemill.steps import exclude as excluding
from tidemill.steps import trace

app = typer.Typer(no_args_is_help=True, help="Datasets: what was learned from, and what must not be again.")

Reference = Annotated[str, typer.Argument(metavar="DATASET", help="A dataset's id or its start, a run's number, or latest.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="An upload's key, with or without MODEL/data/, or its id.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it goes into the decision log.")]
Limit = Annotated[int, typer.Option("--limit", min=1, help="How many to show, newest first.")]


@app.command("list")
def list_datasets(model: Model, limit: Limit = 20, stage: StageName = "dev", as_json: AsJson = False) -> None:
    """The datasets of a model by run, and the uploads that are excluded."""
    at = Stage.of(stage)
    found, excluded = trace.learned(model, limit, ledger=at.ledger, lake=at.lake), at.ledger.exclusions(model)
    if as_json:
        echo_json({"datasets": [render.learned_json(each) for each in found], "excluded": [each.model_dump(mode="json") for each in excluded]})
        return
    render.datasets(console(), model, found, excluded)


@app.command()
def show(model: Model, dataset: Reference = "latest", limit: Limit = 20, stage: StageName = "dev", as_json: AsJson = False) -> None:
    """One dataset: window, split, exclusions, and its parts with the uploads they came from."""
    at = Stage.of(stage)
    run = trace.find_run(model, dataset, ledger=at.ledger)
    held, erased = trace.dataset_of(run, lake=at.lake), trace.erased(run, ledger=at.ledger)
    if as_json:
        by = erased.erasure if erased else None
        echo_json({"id": held.id, "run": keys.run_id(run.epoch), "erased_by": by, **held.model_dump(mode="json")})
        return
    render.dataset(console(), run, held, erased, trace.keys_of(at.ledger.uploads(model)), limit)


@app.command()
def diff(
    model: Model,
    before: Annotated[str, typer.Argument(help="The older dataset: id, run number or latest.")],
    after: Annotated[str, typer.Argument(help="The newer one.")],
    stage: StageName = "dev",
    as_json: AsJson = False,
) -> None:
    """What differs between two datasets: parts, rows, window, split, columns."""
    at = Stage.of(stage)
    older, newer = (trace.dataset_of(trace.find_run(model, each, ledger=at.ledger), lake=at.lake) for each in (before, after))
    changed = trace.compare(older, newer)
    named = trace.keys_of(at.ledger.uploads(model))
    if as_json:
        echo_json(render.changed_json(changed, named))
        return
    render.changed(console(), changed, named)


@app.command()
def lineage(
    model: Model,
    what: Annotated[str, typer.Argument(metavar="DATASET|PART|KEY", help="A dataset, a part's id or its start, or an upload's key.")],
    stage: StageName = "dev",
    as_json: AsJson = False,
) -> None:
    """Upload → part → datasets → runs → packages, from any of them."""
    at = Stage.of(stage)
    found = trace.lineage(model, what, ledger=at.ledger, lake=at.lake)
    champion = at.ledger.champion(model)
    if as_json:
        echo_json(render.lineage_json(found))
        return
    render.lineage(console(), found, champion.package if champion else None)


@app.command()
def checkout(
    model: Model,
    dataset: Reference = "latest",
    to: Annotated[Path, typer.Option("--to", help="A folder that is empty or not there yet.")] = Path("dataset"),
    stage: StageName = "dev",
) -> None:
    """Write a dataset here as train, validation and test Parquet, every object verified by its sha256."""
    from tidemill.steps.checkout import checkout as write

    at = Stage.of(stage)
    run = trace.find_run(model, dataset, ledger=at.ledger)
    erased = trace.erased(run, ledger=at.ledger)
    if erased is not None:
        raise CheckoutRefused(f"{model}: dataset {run.dataset} is {render.gone(erased)}")
    counts = write(trace.dataset_of(run, lake=at.lake), to, lake=at.lake)
    for split, count in counts.items():
        typer.echo(f"{to / f'{split}.parquet'}: {count:,} rows")


@app.command()
def exclude(model: Model, key: Key, reason: Reason = "", stage: StageName = "dev") -> None:
    """Take an upload out of all later datasets. A later file under the same key comes in again."""
    from tidemill.adapters.deployment import caller

    at = Stage.of(stage)
    upload, changed = excluding.exclude(model, key, reason, caller(), now(), ledger=at.ledger)
    typer.echo(f"{upload.key}: {'out of all later datasets' if changed else 'was excluded already'} (upload {upload.id[:12]}, {upload.received_at})")


@app.command()
def include(model: Model, key: Key, reason: Reason = "", stage: StageName = "dev") -> None:
    """Take an exclusion back: the next run learns from the upload again."""
    from tidemill.adapters.deployment import caller

    at = Stage.of(stage)
    for each in excluding.include(model, key, reason, caller(), now(), ledger=at.ledger):
        typer.echo(f"{each.key}: in later datasets again (upload {each.upload[:12]}; it was excluded {each.time} by {each.actor})")
