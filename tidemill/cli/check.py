"""`tidemill check`: every model.toml, without AWS and without data."""

from pathlib import Path
from typing import Annotated

import typer

from tidemill.errors import SpecError
from tidemill.jobs import capped_runtime_s
from tidemill.prepare.rules import refuse_bad_patterns
from tidemill.spec import load_spec


def check(models: Annotated[Path, typer.Argument(help="The folder of the models, or one model's.")] = Path("models")) -> None:
    """Check every model.toml; exit code 1 with all errors when one is wrong."""
    files = [models / "model.toml"] if (models / "model.toml").is_file() else sorted(models.glob("*/model.toml"))
    if not files:
        typer.echo(f"error: {models}: no model.toml here or one folder below: name the folder of the models", err=True)
        raise typer.Exit(1)
    faults = [fault for path in files if (fault := _check(path))]
    for fault in faults:
        typer.echo(fault, err=True)
    if faults:
        raise typer.Exit(1)


def _check(path: Path) -> str | None:
    """The errors of one spec, a line each; None, and a line on stdout, when it is right."""
    try:
        spec = load_spec(path)
        refuse_bad_patterns(spec, str(path), path.read_text(encoding="utf-8"))
        capped_runtime_s(spec)
    except SpecError as error:
        return str(error)
    except UnicodeDecodeError as error:
        return f"{path}: not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}"
    typer.echo(f"{path}: ok, {len(spec.columns)} columns, window {spec.data.window}, split by {spec.data.split.by}")
    return None
