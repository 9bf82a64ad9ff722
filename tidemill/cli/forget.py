"""`tidemill data forget`: the right to erasure, under the credentials of the person who types it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidemill import keys as names
from tidemill.cli.stage import AsJson, Model, Stage, StageName, console, echo_json, now, printable, table
from tidemill.errors import ErasureRefused

if TYPE_CHECKING:
    from tidemill.erasure import Erasure

Keys = Annotated[
    list[str] | None, typer.Option("--key", help="A key to erase; may be given again. It stays in your shell's history: see --keys-from.")
]
KeysFrom = Annotated[Path | None, typer.Option("--keys-from", help="A file with one key a line, UTF-8; - reads them from standard input.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
SHOWN = 20


def forget(model: Model, key: Keys = None, keys_from: KeysFrom = None, stage: StageName = "dev", yes: Yes = False, as_json: AsJson = False) -> None:
    """Erase keys for good: rows, rejects, uploads and query results. Interrupted, it goes on when it is run again."""
    from tidemill.adapters.aws import ParameterModels, S3Store
    from tidemill.adapters.deployment import Deployment, caller
    from tidemill.steps.forget import ForgetRequest
    from tidemill.steps.forget import forget as erase

    wanted = (*(key or ()), *_read(keys_from))
    at, landing = Stage.of(stage), S3Store(Deployment.of(stage)["LandingBucket"])
    if not yes:
        typer.confirm(
            f"Erase {len(set(wanted))} keys of {model} in stage {stage}, with every upload that holds one? This cannot be undone", abort=True
        )
    request = ForgetRequest(model, wanted, caller(), now())
    erasure = erase(request, ledger=at.ledger, models=ParameterModels(stage), landing=landing, lake=at.lake)
    if as_json:
        echo_json(erasure.model_dump(mode="json"))
        return
    champion = at.ledger.champion(model)
    _show(erasure, champion.package if champion else None)


def _read(path: Path | None) -> list[str]:
    """The lines of a file as they are, without what ends them; empty ones are none."""
    if path is None:
        return []
    try:
        text = typer.get_text_stream("stdin").read() if str(path) == "-" else path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ErasureRefused(f"{path}: cannot be read as UTF-8 text: {error.__class__.__name__}") from error
    return [line for line in text.splitlines() if line]


def _show(erasure: "Erasure", champion: str | None) -> None:
    out = console()
    rows, rejects = (sum(getattr(part, name) for part in erasure.parts) for name in ("rows", "rejects"))
    out.print(f"erasure {erasure.id}: {erasure.keys} keys of {erasure.model} erased, {rows:,} rows and {rejects:,} rejected records")
    parts = table("part", "rows", "rejects", right=("rows", "rejects"))
    for part in erasure.parts[:SHOWN]:
        parts.add_row(part.id, f"{part.rows:,}", f"{part.rejects:,}")
    if erasure.parts:
        out.print(parts)
    _list("deleted from landing (send again without the keys before the rules of the model change)", [key for key, _ in erasure.landing])
    _list("not looked into, because they cannot be read: delete them by hand if they hold a key", erasure.unsearched)
    _list("datasets that can no longer be reproduced", erasure.datasets)
    _list("models trained on them", [f"{name} (live)" if name == champion else name for name in erasure.packages])
    out.print(f"record: {names.erasure(erasure.model, erasure.id)} of the lake, and the decision log")


def _list(title: str, items: "list[str] | tuple[str, ...]") -> None:
    if items:
        console().print(f"{title}:")
        for item in items[:SHOWN]:
            console().print(f"  {printable(item)}")
        if len(items) > SHOWN:
            console().print(f"  and {len(items) - SHOWN:,} more: --json")
