"""Ten thousand uploads: what assemble and the reader take of memory, each in a process of its own.

python -m pytest tests/long/test_many_parts.py -m long -s    prints the figures of docs/data.md
"""

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from benchmarks.record import max_rss_mb
from tests.fakes import MemoryLedger, MemoryStore, MemoryWorkflow
from tests.parts import UNTIMED, Row, write_part
from tests.samples import spec
from tidemill import keys
from tidemill.dataset import SPLITS, Candidate, Dataset, DatasetPart, PartFile, PartRecord, assemble
from tidemill.events import RunRef
from tidemill.load import load_dataset
from tidemill.prepare.split import KEY_HASH
from tidemill.records import Run, Upload
from tidemill.steps.assemble import assemble_run

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

UPLOADS = 10_000
PARTS, ROWS, KEYS = 1_000, 2_000, 1_500_000
LAMBDA_MB = 512


def record(at: int) -> PartRecord:
    digest = hashlib.sha256(str(at).encode()).hexdigest()
    files = tuple(PartFile(name=split, rows=1000, size_bytes=10_000, sha256=hashlib.sha256(f"{at}{split}".encode()).hexdigest()) for split in SPLITS)
    return PartRecord(
        id=digest[:32], model="boats", content_sha256=digest, prepare_hash="", version=1, rows=3000, kept=3000, labelled=3000, rejected=0,
        rejects_by_rule={}, ignored_columns=(), files=files,
    )  # fmt: skip


def assemble_many() -> None:
    """A first run over all uploads; then one more upload, and the run after it."""
    ledger, lake = MemoryLedger(), MemoryStore()
    lake.put(f"{keys.code_prefix('boats', 'c0de')}boats/model.toml", UNTIMED.encode())
    for epoch, numbers in ((1, range(UPLOADS)), (2, range(UPLOADS, UPLOADS + 1))):
        mine = [uploaded(at, ledger, lake) for at in numbers]
        ledger.acquire("boats", epoch, "arn")
        ledger.put_run(
            Run(
                model="boats", epoch=epoch, cause="upload", execution="arn", started_at="t", uploads=tuple(mine[:10]), spec_hash=spec(UNTIMED).hash,
                code_hash="c0de",
            )
        )  # fmt: skip
        before, started = max_rss_mb(), time.process_time()
        out = assemble_run(RunRef(model="boats", epoch=epoch), ledger=ledger, workflow=MemoryWorkflow(), lake=lake)
        assert out["stop"] is False
        print(json.dumps({"cpu_s": round(time.process_time() - started, 2), "more_mb": max_rss_mb() - before, "payload_bytes": len(json.dumps(out))}))
        ledger.release_lease("boats", epoch, "arn")


def uploaded(at: int, ledger: MemoryLedger, lake: MemoryStore) -> str:
    made = record(at)
    upload = Upload(
        bucket="landing", key=f"boats/data/{at}.csv", version_id="v", model="boats", size_bytes=1, received_at=f"2024-05-01T00:00:00.{at:05d}Z",
        state="prepared", epoch=1, part=made.id, rules="",
    )  # fmt: skip
    ledger.add_upload(upload)
    lake.put(keys.part_record("boats", made.id), made.model_dump_json(indent=1).encode())
    return upload.id


def written(root: Path) -> None:
    """Parts of one side, wide rows, keys that come again."""
    model = spec(UNTIMED)
    for at in range(PARTS):
        part = write_part(root, f"p{at:04d}", [Row(f"b{(at * ROWS + n * 7919) % KEYS}", 1, n % 2 == 0, n) for n in range(ROWS)], model)
        for file in part.files:
            path = root / keys.rows_path(part.id, file.name)
            frame = pl.read_parquet(path)
            frame.with_columns(length_m=pl.col("crew") * 1.5 + at, note=pl.format("note {} of {}", "crew", pl.lit(at))).write_parquet(path)


def dataset() -> Dataset:
    parts = (
        DatasetPart(id=f"p{at:04d}", files=tuple(PartFile(name=split, rows=1, size_bytes=1, sha256="") for split in SPLITS)) for at in range(PARTS)
    )
    return assemble(tuple(map(Candidate, parts)), spec(UNTIMED))


def read(how: str, root: Path) -> None:
    held, started = dataset(), time.process_time()
    if how == "ours":
        frame = load_dataset(root, held, "train")
    else:
        every = pl.concat([pl.read_parquet(root / keys.rows_path(part, file.name)) for part, file in held.files("train")])
        frame = every.unique(KEY_HASH, keep="last", maintain_order=True).filter(pl.col("sank").is_not_null()).drop(KEY_HASH)
    digest = hashlib.sha256(frame["note"].str.join("\n").item().encode()).hexdigest()
    print(json.dumps({"cpu_s": round(time.process_time() - started, 2), "rss_mb": max_rss_mb(), "rows": len(frame), "digest": digest}))


def measured(*arguments: str) -> list[dict]:
    done = subprocess.run([sys.executable, "-m", "tests.long.test_many_parts", *arguments], check=True, stdout=subprocess.PIPE, text=True)
    print(arguments[0], done.stdout)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_ten_thousand_uploads_fit_the_function_and_the_state_machine():
    for run in measured("assemble"):
        assert run["more_mb"] < LAMBDA_MB / 2
        assert run["payload_bytes"] < 2_000


def test_a_thousand_files_are_read_in_less_memory_than_all_at_once_and_are_the_same_rows(tmp_path):
    written(tmp_path)
    (ours,), (naive,) = measured("ours", str(tmp_path)), measured("naive", str(tmp_path))
    assert (ours["rows"], ours["digest"]) == (naive["rows"], naive["digest"])
    assert ours["rss_mb"] < naive["rss_mb"]


if __name__ == "__main__":
    if sys.argv[1] == "assemble":
        assemble_many()
    else:
        read(sys.argv[1], Path(sys.argv[2]))
