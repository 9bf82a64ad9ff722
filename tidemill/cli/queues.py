"""`tidemill dlq` and `tidemill replay`: what a person does after an alarm."""

import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill.errors import TidemillError

if TYPE_CHECKING:
    from tidemill.adapters.deployment import Deployment
    from tidemill.adapters.queues import DeadLetters

dlq = typer.Typer(no_args_is_help=True, help="Messages that failed five times and wait for a person.")
Stage = Annotated[str, typer.Option(help="The deployed stage.")]


class QueueName(StrEnum):
    """The queues that have a dead-letter queue."""

    intake = "intake"
    tick = "tick"


Queue = Annotated[QueueName, typer.Option(help="Which queue's dead letters.")]


def register(app: typer.Typer) -> None:
    app.add_typer(dlq, name="dlq")
    app.command()(replay)


@dlq.command("list")
def list_letters(stage: Stage = "dev", queue: Queue = QueueName.intake) -> None:
    """Show the dead letters of a queue: what they are about, never what a file holds."""
    with _told():
        letters = _letters(stage, queue).all()
    for letter in letters:
        typer.echo(f"{_time(letter.sent_ms)}  {_about(letter.body)}{f'  ({letter.why})' if letter.why else ''}")
    typer.echo(f"{len(letters)} dead letter{'s' * (len(letters) != 1)} of {queue.value}")


@dlq.command()
def redrive(stage: Stage = "dev", queue: Queue = QueueName.intake) -> None:
    """Send the dead letters of a queue to it again, once what they failed for is mended."""
    with _told():
        moved = _letters(stage, queue).redrive()
    typer.echo(f"{len(moved)} message{'s' * (len(moved) != 1)} sent to {queue.value} again")


def replay(
    model: Annotated[str, typer.Argument(help="The model.")],
    upload: Annotated[str | None, typer.Option(help="The key of one upload, whatever became of it.")] = None,
    refused: Annotated[bool, typer.Option("--refused", help="All that were refused.")] = False,
    parked: Annotated[bool, typer.Option("--parked", help="All that were parked.")] = False,
    rejects_of: Annotated[str | None, typer.Option(help="The key of a prepared upload that has rejected rows.")] = None,
    stage: Stage = "dev",
) -> None:
    """Prepare uploads again after a fix of spec or file; without a choice, all that were refused or parked."""
    from tidemill.adapters.aws import S3Store, SqsTicks
    from tidemill.adapters.ledger import DynamoLedger
    from tidemill.steps import replay as step

    if sum((upload is not None, refused or parked, rejects_of is not None)) > 1:
        raise typer.BadParameter("--upload, --rejects-of and --refused/--parked exclude each other")
    if upload is not None:
        choice = step.Choice(("prepared", "refused", "parked"), upload)
    elif rejects_of is not None:
        choice = step.Choice(("prepared",), rejects_of, rejects=True)
    else:
        choice = step.Choice(tuple(state for state in step.FAILED if {"refused": refused, "parked": parked}[state] or not (refused or parked)))
    with _told():
        deployed = _deployment(stage)
        ledger, lake, ticks = DynamoLedger(deployed["LedgerTable"]), S3Store(deployed["LakeBucket"]), SqsTicks(deployed["TickQueue"])
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        again = step.replay(model, choice, now, getpass.getuser(), ledger=ledger, lake=lake, ticks=ticks)
    for one in again:
        typer.echo(f"{one.key}  was {one.state}{f': {one.reason}' if one.reason else ''}")
    typer.echo(f"{len(again)} upload{'s' * (len(again) != 1)} of {model} pending again; the next run takes them")


@contextmanager
def _told() -> Iterator[None]:
    """An error of ours is one line and exit code 1."""
    try:
        yield
    except TidemillError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def _deployment(stage: str) -> "Deployment":
    from tidemill.adapters.deployment import Deployment

    return Deployment.of(stage)


def _letters(stage: str, queue: QueueName) -> "DeadLetters":
    from tidemill.adapters.queues import DeadLetters

    deployed, name = _deployment(stage), queue.value.title()
    return DeadLetters(deployed[f"{name}DeadQueue"], deployed[f"{name}Queue"])


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _about(body: str) -> str:
    """The object or the model that a message is about; of anything else only its size."""
    try:
        message = json.loads(body)
        if "model" in message:
            return f"tick for {message['model']}"
        item = message["detail"]["object"]
        return f"s3://{message['detail']['bucket']['name']}/{item['key']}  version {item.get('version-id')}  {item.get('size')} bytes"
    except (ValueError, KeyError, TypeError):
        return f"no message of ours, {len(body)} characters"
