"""A large upload on local Spark, on one core and on two: how much faster is the second?

`python -m benchmarks.large [--mb 200] [--repeats 3]` prints the figures; each run is a process of its own, as a job is.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tidemill.cli.flights import month_csv
from tidemill.spec import parse_spec

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class LocalFile:
    """A file of this machine as `tidemill.prepare.spark` reads uploads."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def read(self, start: int, end: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(start)
            return file.read(end - start)

    def open(self) -> BinaryIO:
        return self.path.open("rb")


@contextmanager
def local_spark(cores: int, folder: Path) -> "Iterator[SparkSession]":
    """Spark on so many cores of this machine, which nothing outside of it reaches."""
    from pyspark.sql import SparkSession

    settings = {
        "driver.host": "127.0.0.1", "driver.bindAddress": "127.0.0.1", "ui.enabled": "false", "ui.showConsoleProgress": "false",
        "sql.shuffle.partitions": "2", "local.dir": str(folder),
    }  # fmt: skip
    session = SparkSession.builder.master(f"local[{cores}]")
    for name, value in settings.items():
        session = session.config(f"spark.{name}", value)
    spark = session.getOrCreate()
    try:
        yield spark
    finally:
        spark.stop()


def one(path: Path, cores: int) -> None:
    """Prepare the file on so many cores and print the seconds, Spark's start left out."""
    from tidemill.prepare.spark import prepare_large

    spec = parse_spec((ROOT / "models/flights/model.toml").read_text(), "models/flights/model.toml")
    with tempfile.TemporaryDirectory() as work, local_spark(cores, Path(work)) as spark:
        spark.range(cores).count()
        start = time.perf_counter()
        part = prepare_large(spark, LocalFile(path), spec, Path(work), range_bytes=16 * 1024 * 1024)
        print(json.dumps({"s": round(time.perf_counter() - start, 2), "rows": part.record.rows, "part": part.record.id}))


def flights(path: Path, size_mb: int) -> None:
    """January again and again, with other keys, until the file is large enough."""
    header, _, rows = month_csv(1).partition(b"\n")
    key = header.split(b",").index(b"flight_id")
    lines = rows.splitlines()
    with path.open("wb") as file:
        file.write(header + b"\n")
        copy = 0
        while file.tell() < size_mb * 1_000_000:
            for line in lines:
                fields = line.split(b",")
                fields[key] += b"-%d" % copy
                file.write(b",".join(fields) + b"\n")
            copy += 1


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--mb", type=int, default=200)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--one", nargs=2)
    given = arguments.parse_args()
    if given.one:
        one(Path(given.one[0]), int(given.one[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "flights.csv"
        flights(path, given.mb)
        walls: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(given.repeats):
            for cores, seen in walls.items():
                command = [sys.executable, "-m", "benchmarks.large", "--one", str(path), str(cores)]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment())
                seen.append(json.loads(done.stdout.splitlines()[-1])["s"])
        medians = {f"local[{cores}]_s": statistics.median(seen) for cores, seen in walls.items()}
        print(json.dumps({"mb": given.mb, **medians, "speedup": round(medians["local[1]_s"] / medians["local[2]_s"], 2), "raw": walls}))


def environment() -> dict[str, str]:
    return os.environ | {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}


if __name__ == "__main__":
    main()
