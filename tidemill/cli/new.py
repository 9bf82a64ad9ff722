"""`tidemill new`: a first model.toml from a CSV file, tried on that file."""

import tempfile
from pathlib import Path
from typing import Annotated

import polars as pl
import typer

from tidemill.draft import Draft, Guess, Wishes, draft
from tidemill.errors import SpecError, UploadRefused
from tidemill.metric import Task
from tidemill.prepare.part import PreparedPart, prepare_upload
from tidemill.spec import ModelSpec, parse_spec

MAX_ROWS = 200_000
"""Rows that guesses are made of; the finished spec is tried on the whole file."""
DELIMITERS = (",", ";", "\t", "|")


def new(
    name: Annotated[str, typer.Argument(help="The model's name, and its folder's.")],
    source: Annotated[Path, typer.Option("--from", exists=True, dir_okay=False, help="A CSV file such as will be uploaded.")],
    label: Annotated[str, typer.Option("--label", help="The column to predict.")],
    key: Annotated[str | None, typer.Option("--key", help="The column that tells rows apart.")] = None,
    time: Annotated[str | None, typer.Option("--time", help="The column that says when a row was.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="binary, multiclass or regression.")] = None,
    owner: Annotated[str, typer.Option("--owner", help="Who is asked about the model.")] = "someone@example.com",
    models: Annotated[Path, typer.Option("--models", help="The folder of the models.")] = Path("models"),
) -> None:
    """Write models/NAME/model.toml from a CSV file: types, ranges, categories, key and time are guessed, and say from what."""
    target = models / name / "model.toml"
    if target.exists():
        raise SpecError(f"{target} is there already: change it by hand, or remove it first")
    if task not in (None, "binary", "multiclass", "regression"):
        raise SpecError(f"--task {task}: allowed are binary, multiclass, regression")
    wanted: Task | None = task  # type: ignore[assignment]  # one of them, as was just checked
    table, options = _read(source)
    made = draft(name, table, Wishes(label, key, time, wanted, owner), options)
    spec = parse_spec(made.text, str(target))
    part = _try(source, spec)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(made.text, encoding="utf-8")
    _tell(target, made, part)


def _read(source: Path) -> tuple[pl.DataFrame, dict[str, str]]:
    """The first rows as text, and the options of [data.csv] that are not the defaults."""
    head = _head(source)
    options: dict[str, str] = {}
    try:
        first = head.decode()
    except UnicodeDecodeError as error:
        if error.end < len(head) - 3:  # else a character was cut in two
            options["encoding"] = "latin-1"
        first = head.decode("latin-1")
    line = first.partition("\n")[0]
    delimiter = max(DELIMITERS, key=line.count)
    if not line.count(delimiter):
        raise SpecError(f"{source}: the first line has no {', '.join(map(repr, DELIMITERS))}: not a CSV file with a header")
    if delimiter != ",":
        options["delimiter"] = delimiter
    table = pl.read_csv(
        source, separator=delimiter, infer_schema=False, n_rows=MAX_ROWS, encoding="utf8" if "encoding" not in options else "iso-8859-1",
        truncate_ragged_lines=True,
    )  # fmt: skip
    if not len(table):
        raise SpecError(f"{source}: a header without rows")
    if delimiter == ";" and _comma_decimals(table):
        options["decimal"] = ","
    return table, options


def _head(source: Path) -> bytes:
    from tidemill.prepare.source import Source

    with tempfile.TemporaryDirectory() as work, source.open("rb") as stream:
        return next(Source(stream, source.name, Path(work), 2**60).chunks(), b"")


def _comma_decimals(table: pl.DataFrame) -> bool:
    return any(values.drop_nulls().str.contains(r"^-?\d+,\d+$").all() and values.null_count() < len(values) for values in table)


def _try(source: Path, spec: ModelSpec) -> PreparedPart:
    """The draft on the whole file, as an upload of it would be prepared."""
    with tempfile.TemporaryDirectory() as work, source.open("rb") as stream:
        try:
            return prepare_upload(stream, source.name, spec, Path(work))
        except UploadRefused as error:
            raise SpecError(f"{source}: a spec was made of it, but as an upload it would be refused: {error}") from error


def _tell(target: Path, made: Draft, part: PreparedPart) -> None:
    record = part.record
    typer.echo(f"{target}: {made.task}, {len(made.guesses)} columns")
    for guess in made.guesses:
        typer.echo(f"  {guess.name:<24} {_what(guess):<18} {guess.why}")
    for warning in made.warnings:
        typer.echo(f"warning: {warning}")
    typer.echo(f"tried on the file: {record.kept:,} of {record.rows:,} rows kept, {record.rejected:,} rejected")
    for rule, count in list(record.rejects_by_rule.items())[:5]:
        typer.echo(f"  {count:,} × {rule}")
    typer.echo("read it, change what is wrong, and deploy; then upload the file")


def _what(guess: Guess) -> str:
    return guess.type if guess.role == "feature" else f"{guess.role} ({guess.type})" if guess.role != "ignore" else "ignored"
