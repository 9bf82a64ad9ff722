"""The stage a command works on, how its errors are told, and how it prints."""

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

from tidemill.adapters.errors import AWS_ERRORS
from tidemill.errors import TidemillError
from tidemill.ports import Ledger, Store

WIDTH = 100

Model = Annotated[str, typer.Argument(help="The model's name.")]
StageName = Annotated[str, typer.Option("--stage", envvar="TIDEMILL_STAGE", help="The deployment to work on.")]
AsJson = Annotated[bool, typer.Option("--json", help="For machines.")]


class Commands(TyperGroup):
    """Errors that people can act on are one line and exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (TidemillError, *AWS_ERRORS) as error:
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from error


@dataclass(frozen=True)
class Stage:
    """The record and the lake of one deployment."""

    name: str
    ledger: Ledger
    lake: Store

    @classmethod
    def of(cls, name: str) -> "Stage":
        """Found by the outputs of its stacks. Raises RecordMissing when it is not deployed."""
        from tidemill.adapters.aws import S3Store
        from tidemill.adapters.deployment import Deployment
        from tidemill.adapters.ledger import DynamoLedger

        deployed = Deployment.of(name)
        return cls(name, DynamoLedger(deployed["LedgerTable"]), S3Store(deployed["LakeBucket"]))


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def console() -> Console:
    return Console(width=None if sys.stdout.isatty() else WIDTH, highlight=False, markup=False, emoji=False)


def table(*columns: str, right: tuple[str, ...] = (), fill: str | None = None) -> Table:
    """An unboxed table. Cells that do not fit are cut, not wrapped; the column `fill` takes the room that the others leave."""
    made = Table(box=None, pad_edge=False, header_style="bold", expand=fill is not None)
    for name in columns:
        least, most, share = (16, None, 1) if name == fill else (None, 32, None)
        side: Literal["left", "right"] = "right" if name in right else "left"
        made.add_column(name, justify=side, no_wrap=True, overflow="ellipsis", min_width=least, max_width=most, ratio=share)
    return made


def printable(text: object) -> str:
    """Text of others without what a terminal would obey."""
    return "".join(char if char.isprintable() else "·" for char in str(text))


def echo_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))
