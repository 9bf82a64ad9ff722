"""Rows of erased keys are kept out before any rule sees them: of such a row nothing stays but that it was there."""

from dataclasses import replace

import polars as pl

from tidemill.erasure import RULE, Suppressed
from tidemill.prepare.rules import typed_values
from tidemill.prepare.split import key_hashes
from tidemill.prepare.table import Table, only, rejects
from tidemill.spec import ModelSpec

NOBODY = Suppressed((), "")


def without(table: Table, spec: ModelSpec, suppressed: Suppressed) -> Table:
    """The table without rows of suppressed keys, each of which is a reject that has neither value nor row.

    A row that has no columns (another number of fields than the header) has no key to know it by, and stays.
    """
    if not suppressed or not len(table.lines):
        return table
    values = typed_values(table.columns[spec.key], spec.columns[spec.key]).cast(pl.String).fill_null("")
    out = suppressed.mask(key_hashes(values, spec.salt)).to_numpy()
    if not out.any():
        return table
    erased = rejects([(int(line), spec.key, RULE, None, None) for line in table.lines[out]])
    unread = pl.concat([table.unread, erased]).sort("line", maintain_order=True)
    return replace(only(table, table.lines[~out]), unread=unread)
