"""`tidemill`: what a person types."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tidemill.cli import data, queues, runs
from tidemill.cli.approve import approve, reject, waive
from tidemill.cli.check import check
from tidemill.cli.explain import explain
from tidemill.cli.forget import forget
from tidemill.cli.new import new
from tidemill.cli.rejects import rejects
from tidemill.cli.reproduce import reproduce
from tidemill.cli.stage import Commands

app = typer.Typer(
    cls=Commands, no_args_is_help=True, add_completion=False, help="Drop data into S3; a better model goes live, or nothing changes and you know why."
)
queues.register(app)


app.add_typer(data.app, name="data")
app.add_typer(runs.app, name="runs")
data.app.command()(forget)
app.command()(rejects)
app.command()(check)
app.command()(new)
app.command()(approve)
app.command()(reject)
app.command()(waive)
app.command()(reproduce)
app.command()(explain)


class Example(StrEnum):
    """Examples that come with data."""

    flights = "flights"


@app.callback()
def main() -> None:
    """Drop data into S3; a better model goes live, or nothing changes and you know why."""


@app.command()
def example(
    name: Annotated[Example, typer.Argument(help="Which example.")],
    month: Annotated[int, typer.Option(min=1, max=12, help="Month of 2013.")] = 1,
    out: Annotated[Path | None, typer.Option(help="File to write; 2013-MM.csv here when not given.")] = None,
) -> None:
    """Write one upload of an example, as its owner would send it."""
    from tidemill.cli.flights import month_csv

    target = out or Path(f"2013-{month:02d}.csv")
    data = month_csv(month)
    target.write_bytes(data)
    rows = data.count(b"\n") - 1
    typer.echo(f"{target}: {rows:,} rows of {name.value}, {len(data) / 1e6:.1f} MB")


if __name__ == "__main__":
    app()
