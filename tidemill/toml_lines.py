"""Where in a TOML text a key is written: tomllib says what a file holds, not where."""

import re
from collections import Counter
from collections.abc import Sequence

HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?")
KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")


def line_of(text: str, path: Sequence[str]) -> int | None:
    """The line (1-based) of the key at `path`, or of the innermost table around it; None where not even that is written.

    Elements of arrays of tables are numbered: ("rules", "0", "check"). What an inline table holds is on the table's line.
    """
    best, depth = None, 0
    table: tuple[str, ...] = ()
    elements: Counter[tuple[str, ...]] = Counter()
    for number, line in enumerate(text.splitlines(), 1):
        if header := HEADER.fullmatch(line.partition("#")[0].rstrip()):
            table = _parts(header[2])
            if header[1] == "[[":
                elements[table] += 1
                table = (*table, str(elements[table] - 1))
            here = table
        elif key := KEY.match(line):
            here = (*table, *_parts(key[1]))
        else:
            continue
        if here == tuple(path[: len(here)]) and len(here) > depth:
            best, depth = number, len(here)
    return best


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in re.split(r"\.(?=(?:[^\"']*[\"'][^\"']*[\"'])*[^\"']*$)", dotted))
