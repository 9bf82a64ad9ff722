"""Every query of docs/sql.md, run in DuckDB over files that prepare and assemble really wrote, against answers computed from the uploads.

DuckDB sees exactly the columns that the catalog declares, and `"$path"` as Athena gives it.
"""

import csv
import io
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from tests.fakes import MemoryModels
from tests.samples import folder
from tests.world import T0, World
from tidemill.catalog import SqlTable, table_name, tables
from tidemill.cli.flights import COLUMNS
from tidemill.ports import ModelEntry
from tidemill.spec import ModelSpec, parse_spec

ROOT = Path(__file__).resolve().parents[2]
# The world of the tests has one model, called boats; here it is the flights model under that name.
SPEC_TEXT = (ROOT / "models/flights/model.toml").read_text().replace('name = "flights"', 'name = "boats"').replace("min_rows = 500", "min_rows = 5")
DUCK = {"string": "varchar", "bigint": "bigint", "double": "double", "boolean": "boolean", "timestamp": "timestamp"}
HOUR_MS = 3_600_000
HEADER = ",".join(COLUMNS)


def flight(number: int, day: int, **changed: str) -> str:
    """A good record, unless `changed` says otherwise."""
    values = {
        "flight_id": f"f{number}", "time_hour": f"2013-01-{day:02d}T{number % 24:02d}:00:00", "late": ("true", "false", "false", "")[number % 4],
        "carrier": ("UA", "AA", "B6")[number % 3], "origin": "JFK", "dest": "BOS", "distance": "187", "hour": str(number % 24), "weekday": "1",
        "duration_min": "60", "plane_year": "2001" if number % 5 else "",
        "seats": "100", "temp_f": "40.5", "humidity": "50", "wind_mph": "" if number % 7 else "9.5",
        "precip_in": "0", "pressure_mb": "1012", "visibility_mi": "10", "tailnum": "N1",
    } | changed  # fmt: skip
    return ",".join(values[name] for name in COLUMNS)


def document(*lines: str) -> str:
    return "\n".join([HEADER, *lines]) + "\n"


BROKEN = [flight(900, 3, distance="-5"), flight(901, 3, carrier="XX", hour="99"), flight(902, 4, distance="9000")]
JANUARY = document(*(flight(i, 1 + i % 20) for i in range(200)), *BROKEN[:2])
CORRECTED = document(*(flight(i, 1 + i % 20, late="true") for i in range(150, 260)))
AGAIN = document(*(flight(i, 1 + i % 20, dest="LAX") for i in range(80, 180)), BROKEN[2])
UPLOADS = (
    ("flights/data/2013-01.csv", "v1", JANUARY), ("flights/data/corrected.csv", "v1", CORRECTED), ("flights/data/nothing.csv", "v1", HEADER + "\n"),
    ("flights/data/2013-01.csv", "v2", AGAIN),
)  # fmt: skip
"""In the order they come, an hour apart, each in a run of its own."""


def queries() -> dict[str, str]:
    """Heading → SQL of docs/sql.md."""
    return dict(re.findall(r"^### (.+?)$(?:(?!^#).)*?^```sql\n(.+?)^```", (ROOT / "docs/sql.md").read_text(), re.MULTILINE | re.DOTALL))


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return parse_spec(SPEC_TEXT, "model.toml")


@pytest.fixture(scope="module")
def lake(tmp_path_factory) -> Path:
    """The lake after four runs, as files."""
    world = World()
    entry = ModelEntry(uri="s3://assets/boats.zip", sha256="c0de", quiet_s=60, max_wait_s=300)
    world.models = MemoryModels({"boats": entry}, {entry.uri: folder(SPEC_TEXT)})
    for epoch, (key, version, data) in enumerate(UPLOADS, start=1):
        world.upload(key.replace("flights/", "boats/"), data, at_ms=T0 + epoch * HOUR_MS, version=version)
        world.claim(epoch)
        world.prepare(epoch)
        world.assemble(epoch)
        world.finish(epoch)
    root = tmp_path_factory.mktemp("lake")
    for key, content in world.lake.objects.items():
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(content)
    return root


def view(table: SqlTable, root: Path) -> str:
    """What Athena makes of a table: the declared columns of every file below its location, and the path of the file."""
    files = f"{root}/{table.prefix}**/*.{table.format}"
    if table.format == "parquet":
        source = f"read_parquet('{files}', filename = true)"
    else:
        declared = ", ".join(f"{column.name}: '{DUCK[column.type]}'" for column in table.columns)
        source = f"read_json('{files}', format = 'newline_delimited', columns = {{{declared}}}, filename = true)"
    columns = ", ".join(f'cast("{column.name}" as {DUCK[column.type]}) as "{column.name}"' for column in table.columns)
    return f'create view {table.name} as select {columns}, filename as "$path" from {source}'  # noqa: S608  # our own names


@pytest.fixture(scope="module")
def engine(lake, spec) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("set timezone = 'UTC'; set threads = 1")
    for table in tables(spec):
        connection.execute(view(table, lake))
    return connection


# The same answers, from the uploads alone.


def received(at: int) -> str:
    """When the upload at this place came, as the ledger writes it."""
    return datetime.fromtimestamp((T0 + (at + 1) * HOUR_MS) / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def good(data: str) -> list[dict[str, str]]:
    broken = {line.partition(",")[0] for line in BROKEN}
    return [record for record in csv.DictReader(io.StringIO(data)) if record["flight_id"] not in broken]


PREPARED = [(at, key, version, data) for at, (key, version, data) in enumerate(UPLOADS) if good(data)]
LEARNED = {1: [0], 2: [0, 1], 4: [1, 3]}
"""Run → uploads in its dataset, oldest first. Run 3 had nothing to learn; in run 4 the first file's newer version took its place."""
FAULTS = [
    ("f900", "distance", "min 1", "-5"),
    ("f901", "carrier", "allowed", "XX"),
    ("f901", "hour", "max 23", "99"),
    ("f902", "distance", "max 6000", "9000"),
]


def line_of(data: str, flight_id: str) -> tuple[int, str] | None:
    return next(((at, line) for at, line in enumerate(data.splitlines(), start=1) if line.startswith(f"{flight_id},")), None)


def rejects() -> list[tuple]:
    faults = [(key, *place, *fault[1:]) for _, key, _, data in PREPARED for fault in FAULTS if (place := line_of(data, fault[0]))]
    return sorted((key, line, column, rule, value, text) for key, line, text, column, rule, value in faults)


def rejects_by_rule() -> list[tuple]:
    counts = Counter((key, column, rule) for key, _, column, rule, _, _ in rejects())
    return sorted(((*what, count) for what, count in counts.items()), key=lambda row: (-row[3], *row[:3]))


def label_rates() -> list[tuple]:
    out = []
    for at, key, _, data in PREPARED:
        labels = [record["late"] for record in good(data) if record["late"]]
        out.append((received(at), key, len(good(data)), len(labels), pytest.approx(labels.count("true") / len(labels))))
    return out


def uploads_in_the_latest_dataset() -> list[tuple]:
    return [(position, UPLOADS[at][0], UPLOADS[at][1], received(at), len(good(UPLOADS[at][2]))) for position, at in enumerate(LEARNED[max(LEARNED)])]


def runs_of_uploads() -> list[tuple]:
    return sorted((*UPLOADS[at][:2], f"{run:04d}") for run, members in LEARNED.items() for at in members)


def repeated_keys() -> list[tuple]:
    counts = Counter(record["flight_id"] for *_, data in PREPARED for record in good(data))
    return sorted((key, count) for key, count in counts.items() if count > 1)


def missing() -> list[tuple]:
    columns = ("late", "plane_year", "wind_mph")
    return sorted(
        (key, version, len(good(data)), *(sum(not record[column] for record in good(data)) for column in columns))
        for _, key, version, data in PREPARED
    )


def current_truth() -> list[tuple]:
    rows = {record["flight_id"]: record for at in LEARNED[max(LEARNED)] for record in good(UPLOADS[at][2])}
    late = {"true": True, "false": False, "": None}
    return [(key, datetime.fromisoformat(r["time_hour"]), late[r["late"]], r["carrier"], r["origin"], r["dest"]) for key, r in sorted(rows.items())]


def by_day_and_carrier() -> list[tuple]:
    groups: dict[tuple, list[str]] = defaultdict(list)
    for *_, data in PREPARED:
        for record in good(data):
            groups[datetime.fromisoformat(record["time_hour"][:10]), record["carrier"]].append(record["late"])
    return sorted((*group, len(late), late.count("true")) for group, late in groups.items())


def rejected_by_day() -> list[tuple]:
    records = sum(data.count("\n") - 1 for *_, data in PREPARED)
    return [(received(0)[:10], len(PREPARED), records, pytest.approx(len(BROKEN) / records))]


EXPECTED: dict[str, Callable[[], list[tuple]]] = {
    "Rejects by rule and upload": rejects_by_rule,
    "Records that broke a rule": lambda: [row for row in rejects() if row[0] == "flights/data/2013-01.csv"],
    "Rows and label rate by upload": label_rates,
    "Uploads in a dataset": uploads_in_the_latest_dataset,
    "Runs that learned from an upload": runs_of_uploads,
    "Keys in more than one part": repeated_keys,
    "Missing values by upload": missing,
    "The current truth": current_truth,
    "Flights by day and carrier": by_day_and_carrier,
    "Share of rejected records by day of arrival": rejected_by_day,
    "Refused uploads": lambda: [(UPLOADS[2][0], "v1", received(2), "0003")],
}


def answer(engine: duckdb.DuckDBPyConnection, sql: str) -> list[tuple]:
    """The query for the model of this test; landing keys come back under the document's name."""
    rows = engine.execute(sql.replace(table_name("flights", ""), table_name("boats", "")).replace("'flights/", "'boats/")).fetchall()
    return [tuple(v.replace("boats/", "flights/", 1) if isinstance(v, str) and v.startswith("boats/") else v for v in row) for row in rows]


def test_every_documented_query_is_tested():
    assert set(queries()) == set(EXPECTED)


@pytest.mark.parametrize("heading", EXPECTED)
def test_a_documented_query_answers_what_the_uploads_say(engine, heading):
    got, expected = answer(engine, queries()[heading]), EXPECTED[heading]()
    assert expected
    if heading == "Runs that learned from an upload":
        assert len({dataset for *_, dataset in got}) == len(LEARNED)
        got = [row[:-1] for row in got]
    assert got == expected
