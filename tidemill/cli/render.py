"""How datasets look in a terminal of a hundred columns, and as JSON."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.tree import Tree

from tidemill import keys
from tidemill.cli.stage import printable, table
from tidemill.dataset import SPLITS, Dataset, DatasetPart, describe
from tidemill.records import Exclusion, Run, Unreproducible, Upload
from tidemill.steps.trace import Changed, Learned, Lineage

SHORT = 12
NONE = "–"


def datasets(console: Console, model: str, found: list[Learned], excluded: list[Exclusion]) -> None:
    if not found:
        console.print(f"{model}: no run has made a dataset yet")
    else:
        shown = table("run", "dataset", "started", "parts", *SPLITS, "became", "held out", right=("parts", *SPLITS), fill="held out")
        for each in found:
            shown.add_row(*_row(each))
        console.print(shown)
        for dataset_id, mark in {str(each.run.dataset): each.erased for each in found if each.erased is not None}.items():
            console.print(f"dataset {dataset_id[:SHORT]} is {gone(mark)}", soft_wrap=True)
    if excluded:
        console.print("\nexcluded")
        out = table("since", "upload", "reason", fill="reason")
        for one in excluded:
            out.add_row(one.time[:10], printable(one.key), printable(one.reason) or NONE)
        console.print(out)


def _row(each: Learned) -> tuple[str, ...]:
    run, summary = each.run, each.summary
    numbers = (f"{summary.parts:,}", *(f"{summary.rows[split]:,}" for split in SPLITS)) if summary else (NONE,) * 4
    return keys.run_id(run.epoch), str(run.dataset)[:SHORT], run.started_at[:10], *numbers, became(run), summary.periods["test"] if summary else NONE


def dataset(console: Console, run: Run, held: Dataset, erased: Unreproducible | None, named: dict[str, str], limit: int) -> None:
    console.print(f"dataset   {held.id}")
    if erased is not None:
        console.print(f"          {gone(erased)}", soft_wrap=True)
    console.print(f"run       {keys.run_id(run.epoch)}, {minute(run.started_at)}, {became(run)}")
    console.print(f"window    {window(held)}")
    console.print(f"split     by {held.split.by}, salt '{printable(held.split.salt)}'")
    console.print(f"columns   {len(held.columns)}: key {held.key}, label {held.label}, time {held.time or NONE}")
    console.print(f"excluded  {', '.join(printable(named.get(part, part[:SHORT])) for part in held.excluded) or 'none'}\n")
    sides = table("split", "files", "rows", "share", "period", right=("files", "rows", "share"))
    for split in SPLITS:
        sides.add_row(split, f"{len(held.files(split)):,}", f"{held.rows(split):,}", f"{getattr(held.split, split):.0%}", describe(held, split))
    console.print(sides)
    console.print("rows as they lie in the files: replaced keys and unlabelled rows are left out when they are read\n")
    console.print(parts(reversed(held.parts[-limit:]), named))
    if len(held.parts) > limit:
        console.print(f"... and {len(held.parts) - limit:,} older parts (--limit)")


def parts(shown: Iterable[DatasetPart], named: dict[str, str]) -> Any:
    made = table("part", "rows", "days", "upload", right=("rows",), fill="upload")
    for part in shown:
        days = " to ".join(dict.fromkeys(part.days)) if part.days else NONE
        made.add_row(part.id[:SHORT], f"{sum(file.rows for file in part.files):,}", days, printable(named.get(part.id, "prepared again since")))
    return made


def changed(console: Console, found: Changed, named: dict[str, str]) -> None:
    before, after = found.before, found.after
    console.print(f"{before.id[:SHORT]} → {after.id[:SHORT]}")
    shown = table("", "before", "after", fill="after")
    for name, old, new in _facts(before, after):
        shown.add_row(name, old, "the same" if old == new else new)
    console.print(shown)
    for title, some in (("added", found.added), ("removed", found.removed)):
        console.print(f"\n{title}: {len(some):,} part{'s' * (len(some) != 1)}")
        if some:
            console.print(parts(some, named))


def _facts(before: Dataset, after: Dataset) -> Iterable[tuple[str, str, str]]:
    both = (before, after)
    yield "parts", *(f"{len(each.parts):,}" for each in both)  # type: ignore[misc]  # two of them
    yield "window", *map(window, both)  # type: ignore[misc]
    for split in SPLITS:
        yield split, *(f"{each.rows(split):,} rows, {describe(each, split)}" for each in both)  # type: ignore[misc]
    yield "excluded", *(f"{len(each.excluded):,} parts" for each in both)  # type: ignore[misc]
    yield "columns", f"{len(before.columns)}", _columns(before, after)


def _columns(before: Dataset, after: Dataset) -> str:
    new, gone = after.columns.items() - before.columns.items(), before.columns.items() - after.columns.items()
    told = " ".join((*(f"+{name}:{kind}" for name, kind in sorted(new)), *(f"-{name}:{kind}" for name, kind in sorted(gone))))
    return f"{len(after.columns)}" + (f": {told}" if told else "")


def lineage(console: Console, found: Lineage, champion: str | None) -> None:
    tree = Tree(printable(found.subject))
    uploads = tree.add(f"uploads ({len(found.uploads):,})")
    for upload in found.uploads[:50]:
        uploads.add(_upload(upload))
    if not found.uploads:
        uploads.add("none today: they were prepared again under other rules, or erased")
    if len(found.parts) == 1 and not found.subject.startswith("part"):
        tree.add(f"part {found.parts[0]}")
    datasets = tree.add(f"datasets ({len({run.dataset for run in found.runs}):,})")
    for dataset_id in dict.fromkeys(str(run.dataset) for run in found.runs):
        node = datasets.add(f"dataset {dataset_id}")
        for run in (run for run in found.runs if run.dataset == dataset_id):
            live = "  ← champion" if run.package is not None and run.package == champion else ""
            node.add(f"run {keys.run_id(run.epoch)}  {minute(run.started_at)}  {became(run)}{live}")
    console.print(tree)


def _upload(upload: Upload) -> str:
    part = f"  part {upload.part[:SHORT]}" if upload.part else ""
    return f"{printable(upload.key)}  {minute(upload.received_at)}  {upload.state}{part}"


def window(held: Dataset) -> str:
    asked, of = held.window.asked, "" if held.window.by == "rows" else " of uploads"
    return asked if held.window.first_day is None else f"{asked}: {held.window.first_day} to {held.window.last_day}{of}"


def became(run: Run) -> str:
    """What came of a run, for people: its package, or how it ended."""
    return run.package or run.outcome or ("running" if run.finished_at is None else NONE)


def gone(mark: Unreproducible) -> str:
    return f"no longer reproducible: erasure {mark.erasure[:SHORT]} took rows out of it on {mark.time[:10]}"


def minute(time: str) -> str:
    return time[:16].replace("T", " ")


def learned_json(each: Learned) -> dict[str, Any]:
    run = each.run
    about = each.summary.model_dump(mode="json", exclude={"id"}) if each.summary else {}
    return {
        "run": keys.run_id(run.epoch),
        "dataset": run.dataset,
        "started_at": run.started_at,
        "outcome": run.outcome,
        "package": run.package,
        "erased_by": each.erased.erasure if each.erased else None,
        **about,
    }


def changed_json(found: Changed, named: dict[str, str]) -> dict[str, Any]:
    def told(some: tuple[DatasetPart, ...]) -> list[dict[str, Any]]:
        return [{"part": part.id, "rows": sum(file.rows for file in part.files), "upload": named.get(part.id)} for part in some]

    rows = {split: [found.before.rows(split), found.after.rows(split)] for split in SPLITS}
    windows = [each.window.model_dump(mode="json") for each in (found.before, found.after)]
    ids = {"before": found.before.id, "after": found.after.id}
    return ids | {"added": told(found.added), "removed": told(found.removed), "rows": rows, "window": windows}


def lineage_json(found: Lineage) -> dict[str, Any]:
    return {
        "subject": found.subject,
        "uploads": [{"id": upload.id, **upload.model_dump(mode="json", include={"key", "received_at", "state", "part"})} for upload in found.uploads],
        "parts": list(found.parts),
        "runs": [{"run": keys.run_id(run.epoch), **run.model_dump(mode="json", include={"dataset", "outcome", "package"})} for run in found.runs],
    }
