"""rejects: which rows of which upload broke which rule, for people. Values of sensitive columns are masked."""

import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidemill import keys
from tidemill.dataset import PartRecord
from tidemill.ports import Ledger, Store
from tidemill.records import Upload
from tidemill.spec import ModelSpec
from tidemill.steps.pinned import pinned_spec

if TYPE_CHECKING:  # every command line starts with this module: polars is imported where rows are read
    import polars as pl

READERS = 10
MASK = "•••"


@dataclass(frozen=True)
class Judged:
    """An upload and the record of its part; None for an upload that gave none."""

    upload: Upload
    record: PartRecord | None


def judged(uploads: list[Upload], *, lake: Store) -> list[Judged]:
    """The uploads with what their parts say, in the same order."""
    with ThreadPoolExecutor(READERS) as pool:
        return list(map(Judged, uploads, pool.map(lambda upload: _record(upload, lake), uploads)))


def by_rule(found: list[Judged]) -> dict[str, int]:
    """Broken rules over all these uploads, most frequent first."""
    totals: dict[str, int] = {}
    for each in found:
        for rule, count in (each.record.rejects_by_rule if each.record else {}).items():
            totals[rule] = totals.get(rule, 0) + count
    return dict(sorted(totals.items(), key=lambda item: (-item[1], item[0])))


def reject_rows(upload: Upload, *, ledger: Ledger, lake: Store) -> "pl.DataFrame":
    """line, column, rule, value, row of every broken rule of the upload, masked by the spec that prepared it."""
    import polars as pl

    if upload.part is None or upload.epoch is None:
        return pl.DataFrame(schema=dict.fromkeys(("line", "column", "rule", "value", "row"), pl.String))
    run = ledger.run(upload.model, upload.epoch)
    rows = pl.read_parquet(io.BytesIO(lake.get(keys.part_rejects(upload.model, upload.part))))
    return masked(rows, pinned_spec(upload.model, run.code_hash, lake))


def masked(rows: "pl.DataFrame", spec: ModelSpec) -> "pl.DataFrame":
    """A row as it came holds every column: it is hidden as soon as one of them is sensitive. So is a value of no one column."""
    import polars as pl

    sensitive = {name for name, column in spec.columns.items() if column.sensitive}
    if not sensitive:
        return rows
    open_columns = sorted(spec.columns.keys() - sensitive)
    value = pl.when(pl.col("column").is_in(open_columns)).then(pl.col("value")).otherwise(pl.lit(MASK))
    return rows.with_columns(value=value, row=pl.lit(MASK))


def _record(upload: Upload, lake: Store) -> PartRecord | None:
    return None if upload.part is None else PartRecord.model_validate_json(lake.get(keys.part_record(upload.model, upload.part)))
