"""Which field of a file is which column of the spec, and what becomes of a file whose columns drifted."""

from collections import Counter
from collections.abc import Sequence

from tidemill.errors import UploadRefused
from tidemill.spec import ModelSpec

TOLD = 20
"""So many names of columns a message or a record holds."""


def match_columns(header: Sequence[str], spec: ModelSpec, place: str, *, ordered: bool = True) -> dict[str, int]:
    """Spec column → index in `header`. A nullable column may be absent from it where the spec says missing = "null".

    Raises UploadRefused for a name that comes twice and for drift that the spec does not accept; `place` says where.
    """
    at = {name: index for index, name in enumerate(header)}
    found = {name: at[known[0]] for name, column in spec.columns.items() if (known := _known(name, column.aliases, at, place))}
    _refuse_missing([name for name in spec.columns if name not in found], header, spec, place)
    if len(at) < len(header):
        twice = [name for name, count in Counter(header).items() if count > 1]
        raise UploadRefused(f"{place}: the header names {', '.join(twice[:TOLD])} more than once")
    if spec.data.drift.new == "refuse" and (new := ignored_columns(header, found)):
        raise UploadRefused(f'{place}: new column{"s" * (len(new) > 1)} {", ".join(new[:TOLD])}; data.drift.new is "refuse"')
    if ordered and spec.data.drift.reordered == "refuse" and list(found.values()) != sorted(found.values()):
        raise UploadRefused(f'{place}: the columns come in another order than in the spec; data.drift.reordered is "refuse"')
    return found


def ignored_columns(header: Sequence[str], found: dict[str, int]) -> list[str]:
    used = set(found.values())
    return [name for index, name in enumerate(header) if index not in used]


def _known(name: str, aliases: tuple[str, ...], at: dict[str, int], place: str) -> list[str]:
    known = [header for header in (name, *aliases) if header in at]
    if len(known) > 1:
        raise UploadRefused(f"{place}: the header has {' and '.join(known)}, which are names of one column")
    return known


def _refuse_missing(missing: list[str], header: Sequence[str], spec: ModelSpec, place: str) -> None:
    if spec.data.drift.missing == "null":
        missing = [name for name in missing if not (spec.columns[name].nullable or spec.columns[name].role == "ignore")]
    if missing:
        # Not what stands there instead: without a header that is the first row, and a row is nothing for a log.
        known = ", ".join(name for name in header if name in spec.columns)[:200] or "none of them"
        raise UploadRefused(
            f"{place}: missing column{'s' * (len(missing) > 1)} {', '.join(missing[:TOLD])}; of the spec's columns the header has {known}"
        )
