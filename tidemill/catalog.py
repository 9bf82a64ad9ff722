"""The lake as SQL tables: which tables a model has, their columns and where their files lie. The catalog stack declares them.

Rows and rejects are the Parquet files that prepare writes. Two small tables of facts say which upload gave which part and which
part is in which dataset; the steps write them as JSON lines beside, so that a query needs nothing but the lake.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

from tidemill import keys
from tidemill.dataset import Dataset
from tidemill.records import Upload
from tidemill.spec import ColumnType, ModelSpec

Format = Literal["parquet", "json"]
SqlType = Literal["string", "bigint", "double", "boolean", "timestamp"]

SQL_TYPES: dict[ColumnType, SqlType] = {
    "string": "string",
    "category": "string",
    "integer": "bigint",
    "float": "double",
    "boolean": "boolean",
    "datetime": "timestamp",
}
HASH_IS_LEFT_OUT = "The 64-bit key hash of the files is not a column here: SQL on Athena has no unsigned integers."


@dataclass(frozen=True)
class SqlColumn:
    """A column by the name the SQL engine knows it by (lower case), its type, and what it holds."""

    name: str
    type: SqlType
    comment: str = ""


@dataclass(frozen=True)
class SqlTable:
    """A table over every file below `prefix` of the lake."""

    name: str
    format: Format
    prefix: str
    columns: tuple[SqlColumn, ...]
    comment: str


REJECTS = (
    SqlColumn("line", "bigint", "line of the record in the upload"),
    SqlColumn("column", "string", "empty when the whole record broke the rule"),
    SqlColumn("rule", "string"),
    SqlColumn("value", "string", "as it came"),
    SqlColumn("row", "string", "the record as it came"),
)
UPLOADS = (
    SqlColumn("upload", "string", "the id in the ledger"),
    SqlColumn("key", "string", "of the landing bucket"),
    SqlColumn("version", "string", "of the object"),
    SqlColumn("state", "string", "prepared or refused"),
    SqlColumn("part", "string", "the part it became; null when refused"),
    SqlColumn("rows", "bigint", "records in the file"),
    SqlColumn("kept", "bigint"),
    SqlColumn("rejected", "bigint"),
    SqlColumn("received_at", "string", "UTC, ISO 8601: sorts as text"),
    SqlColumn("run", "string", "that prepared it last"),
)
DATASETS = (
    SqlColumn("dataset", "string"),
    SqlColumn("run", "string", "that learned from it"),
    SqlColumn("position", "bigint", "from 0, oldest part first; where a key comes again the newest part wins"),
    SqlColumn("part", "string"),
    SqlColumn("rows", "bigint"),
)


def database(stage: str) -> str:
    """One database a stage."""
    return f"tidemill_{stage}"


def workgroup(stage: str) -> str:
    """Queries run in this Athena workgroup."""
    return f"tidemill-{stage}"


def table_name(model: str, table: str) -> str:
    """SQL names have no hyphens."""
    return f"{model.replace('-', '_')}_{table}"


def tables(spec: ModelSpec) -> tuple[SqlTable, ...]:
    """The four tables of a model."""
    model = spec.name
    return (
        SqlTable(
            table_name(model, "rows"), "parquet", keys.rows_prefix(model), _row_columns(spec),
            f"Rows of every part of {model}, superseded parts too; the part is in the path. {HASH_IS_LEFT_OUT}",
        ),
        SqlTable(table_name(model, "rejects"), "parquet", keys.rejects_prefix(model), REJECTS, f"Records of {model} that broke a rule, as they came"),
        SqlTable(table_name(model, "uploads"), "json", keys.upload_facts(model), UPLOADS, f"What became of each upload of {model}"),
        SqlTable(table_name(model, "datasets"), "json", keys.dataset_facts(model), DATASETS, f"Parts of each dataset of {model}"),
    )  # fmt: skip


def _row_columns(spec: ModelSpec) -> tuple[SqlColumn, ...]:
    """The spec's columns in its order (none differ in capitals only: the spec sees to it); an ignored column is text as it came."""
    return tuple(
        SqlColumn(name.lower(), "string" if column.role == "ignore" else SQL_TYPES[column.type], column.role) for name, column in spec.columns.items()
    )


def upload_fact(upload: Upload, state: str, part: str | None, *, rows: int, kept: int, rejected: int, run: str) -> bytes:
    """The line of one upload."""
    return _lines(
        {
            "upload": upload.id, "key": upload.key, "version": upload.version_id, "state": state, "part": part, "rows": rows, "kept": kept,
            "rejected": rejected, "received_at": upload.received_at, "run": run,
        }
    )  # fmt: skip


def dataset_facts(dataset: Dataset, run: str) -> bytes:
    """One line a part of the dataset that a run learns from."""
    return _lines(
        *(
            {"dataset": dataset.id, "run": run, "position": position, "part": part.id, "rows": sum(file.rows for file in part.files)}
            for position, part in enumerate(dataset.parts)
        )
    )


def _lines(*facts: dict[str, Any]) -> bytes:
    return "".join(json.dumps(fact) + "\n" for fact in facts).encode()
