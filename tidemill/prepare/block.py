"""One block of an upload: whole records in, typed rows, rejects and a profile out. It knows nothing of other blocks.

Spark runs the same function on its executors; repeated keys and files are the caller's to settle.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import polars as pl

from tidemill.erasure import Suppressed
from tidemill.prepare.profile import Profile, profile
from tidemill.prepare.rules import LINE, Rules
from tidemill.prepare.split import KEY_HASH, key_hashes
from tidemill.prepare.suppress import NOBODY, without
from tidemill.prepare.table import REJECTS, Block, Lines, Table, only
from tidemill.spec import ModelSpec

REPEATED = "unique key, a later row has it"


class Layout(Protocol):
    """How a file's records become columns of text."""

    @property
    def ignored(self) -> tuple[str, ...]: ...
    def parse(self, block: Block) -> Table: ...
    def rows_at(self, block: Block, lines: Lines) -> Table: ...


@dataclass(frozen=True)
class PreparedBlock:
    """`rows`: the spec's columns, KEY_HASH and LINE, in the order of the file; `rejected`: rows lost; `records`: rows in all."""

    rows: pl.DataFrame
    rejects: pl.DataFrame
    records: int
    rejected: int
    profile: Profile
    table: Table
    """The same records as they came, for whoever has to tell one; of the columns the key alone."""


class BlockPreparer:
    """The block function of one file: its layout, and the rules of its spec made once."""

    def __init__(self, layout: Layout, spec: ModelSpec, suppressed: Suppressed = NOBODY) -> None:
        self._layout, self._spec, self._rules, self._suppressed = layout, spec, Rules(spec), suppressed

    def __call__(self, block: Block) -> PreparedBlock:
        table = without(self._layout.parse(block), self._spec, self._suppressed)
        checked = self._rules.check(table)
        table = replace(table, columns=table.columns.select(self._spec.key))  # the other texts may go
        rows = checked.rows.with_columns(key_hashes(checked.rows[self._spec.key], self._spec.salt))
        rows = rows.select(*self._spec.columns, KEY_HASH, LINE)
        return PreparedBlock(rows, checked.rejects, table.rows, checked.rejected, profile(rows, self._spec), table)

    def repeated(self, block: Block, lines: Lines) -> pl.DataFrame:
        """The rejects of the rows that begin on `lines`, each of which a later row replaces."""
        return repeated(self._layout.rows_at(block, lines), self._spec)


def repeated(table: Table, spec: ModelSpec) -> pl.DataFrame:
    rows = table.texts(range(len(table.lines)))
    return pl.DataFrame({"line": table.lines, "column": spec.key, "rule": REPEATED, "value": table.columns[spec.key], "row": rows}, schema=REJECTS)


def without_repeats(block: PreparedBlock, spec: ModelSpec, later: PreparedBlock | None = None) -> PreparedBlock:
    """The block less the rows whose key comes again in it, or in `later`; they become rejects. Its profile stays that of all."""
    hashes = block.rows[KEY_HASH]
    again = ~hashes.is_last_distinct() if later is None else hashes.is_in(later.rows[KEY_HASH].implode())
    if not again.any():
        return block
    told = repeated(only(block.table, block.rows[LINE].filter(again).to_numpy()), spec)
    rejects = pl.concat([block.rejects, told]).sort("line", maintain_order=True)
    return replace(block, rows=block.rows.filter(~again), rejects=rejects, rejected=block.rejected + len(told))
