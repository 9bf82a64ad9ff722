"""`tidemill rejects`: which rows broke which rule."""

from typing import Annotated, Any

import typer
from rich.console import Console

from tidemill.cli.stage import AsJson, Model, Stage, StageName, console, echo_json, printable, table
from tidemill.steps.exclude import newest_of
from tidemill.steps.rejects import Judged, by_rule, judged, reject_rows

SHOWN_RULES = 15


def rejects(
    model: Model,
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="An upload's key or id: its rejected rows.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many uploads, or rows of one.")] = 20,
    stage: StageName = "dev",
    as_json: AsJson = False,
) -> None:
    """The rejects of a model's uploads by rule; of one upload, its rows. Values of sensitive columns are masked."""
    at = Stage.of(stage)
    if key is None:
        _uploads(model, limit, at, as_json)
    else:
        _rows(model, key, limit, at, as_json)


def _uploads(model: str, limit: int, at: Stage, as_json: bool) -> None:
    uploads = [upload for upload in at.ledger.uploads(model) if upload.state in ("prepared", "refused")][-limit:]
    found = judged(uploads[::-1], lake=at.lake)
    if as_json:
        echo_json([_judged_json(each) for each in found])
        return
    out = console()
    shown = table("upload", "rows", "rejected", "share", "what", right=("rows", "rejected", "share"), fill="what")
    for each in found:
        shown.add_row(*_judged_row(each))
    out.print(shown if found else f"{model}: no upload was prepared yet")
    _rules(out, by_rule(found), f"\nby rule, over these {len(found):,} uploads")


def _rows(model: str, key: str, limit: int, at: Stage, as_json: bool) -> None:
    upload = newest_of(model, key, at.ledger.uploads(model))
    rows = reject_rows(upload, ledger=at.ledger, lake=at.lake)
    if as_json:
        echo_json({"key": upload.key, "state": upload.state, "reason": upload.reason, "rejects": rows.head(limit).to_dicts()})
        return
    out = console()
    out.print(f"{printable(upload.key)}  {upload.state}" + (f": {printable(upload.reason)}" if upload.reason else ""))
    _rules(out, by_rule(judged([upload], lake=at.lake)), "\nby rule")
    if rows.is_empty():
        return
    shown = table("line", "column", "rule", "value", "row", right=("line",), fill="row")
    for row in rows.head(limit).iter_rows():
        shown.add_row(*(printable("" if cell is None else cell) for cell in row))
    out.print()
    out.print(shown)
    if len(rows) > limit:
        out.print(f"... and {len(rows) - limit:,} more (--limit, or --json)")


def _rules(out: Console, totals: dict[str, int], title: str) -> None:
    """Broken rules, most frequent first."""
    if not totals:
        return
    shown = table("rule", "rows", right=("rows",))
    for rule, count in list(totals.items())[:SHOWN_RULES]:
        shown.add_row(printable(rule), f"{count:,}")
    out.print(title)
    out.print(shown)
    if len(totals) > SHOWN_RULES:
        out.print(f"... and {len(totals) - SHOWN_RULES:,} more rules (--json)")


def _judged_row(each: Judged) -> tuple[str, ...]:
    upload, record = each.upload, each.record
    if record is None:
        return printable(upload.key), "", "", "", f"refused: {printable(upload.reason)}"
    worst = next(iter(record.rejects_by_rule), "")
    return printable(upload.key), f"{record.rows:,}", f"{record.rejected:,}", f"{record.rejected / max(record.rows, 1):.2%}", printable(worst)


def _judged_json(each: Judged) -> dict[str, Any]:
    upload, record = each.upload, each.record
    told = record.model_dump(mode="json", include={"rows", "kept", "rejected", "rejects_by_rule"}) if record else {"reason": upload.reason}
    return {"key": upload.key, "upload": upload.id, "state": upload.state, **told}
