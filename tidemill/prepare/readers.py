"""The reader of a format. The name's ending must say the format that the spec does."""

from collections.abc import Iterator
from typing import Protocol

from tidemill.errors import UploadRefused
from tidemill.prepare.block import Layout
from tidemill.prepare.csv_reader import CsvFile
from tidemill.prepare.jsonl_reader import JsonlFile
from tidemill.prepare.parquet_reader import ParquetFile
from tidemill.prepare.source import Source
from tidemill.prepare.table import Block
from tidemill.spec import ModelSpec

ENDINGS = {"csv": (".csv",), "jsonl": (".jsonl", ".ndjson"), "parquet": (".parquet",)}


class Reader(Protocol):
    """Blocks of a file; `layout` is known once the first was asked for. Reading again gives the same blocks."""

    @property
    def layout(self) -> Layout: ...
    def blocks(self, chunks: Iterator[bytes]) -> Iterator[Block]: ...


def open_upload(source: Source, spec: ModelSpec, *, block_bytes: int, max_bytes: int) -> Reader:
    """Raises UploadRefused when the name does not fit the spec's format."""
    endings = ENDINGS[spec.data.format]
    if not source.stem.endswith(endings):
        allowed = [f"{ending}{packed}" for ending in endings for packed in ("", ".gz", ".zst")]
        raise UploadRefused(f"the name must end in {', '.join(allowed[:-1])} or {allowed[-1]}, this one is '{source.name}'")
    if spec.data.format == "parquet":
        return ParquetFile(source, spec, max_bytes)
    return JsonlFile(spec, block_bytes) if spec.data.format == "jsonl" else CsvFile(spec, block_bytes)
