"""prepare against naive pandas, two passes of polars, and duckdb: a dirty CSV becomes typed Parquet, rejects with reasons and a profile.

    python -m benchmarks.prepare            (or make bench-prepare: 500 MB, five to ten minutes)
    python -m benchmarks.prepare --quick    (60 MB, for development: writes nothing)
    python -m benchmarks.prepare --10gb     (ours alone; adds its figure to the results that are there)

Every run is a process of its own; wall time with its imports, RSS is the process's maximum. The peers do what targets.md says:
types, rules, rejects with reasons, repeated keys (the last stays), split by hash of the key, a profile, zstd Parquet.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import dirty
from benchmarks.record import ROOT, write

PEERS = ("ours", "polars", "duckdb", "pandas")
REPEATS = 3
MB = 1_000_000


def run(peer: str, source: Path) -> dict[str, Any]:
    """Seconds, RSS in MB, and what the run printed."""
    with tempfile.TemporaryDirectory(dir=source.parent) as out:
        began = time.monotonic()
        command = [sys.executable, "-m", "benchmarks.prepare_peers", peer, str(source), out]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        told = process.stdout.read() if process.stdout else ""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{peer} failed with {process.returncode}")
        result = {
            "peer": peer,
            "seconds": round(time.monotonic() - began, 2),
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 2),
            **json.loads(told),
        }
    print(result, flush=True)
    return result


def differing_rejects(folder: Path) -> int:
    """Rejects that differ from the reference's, on 20 MB of the same kind of file."""
    import polars as pl

    from tests.reference import reference
    from tidemill.prepare.part import prepare_upload

    source = folder / "small.csv"
    dirty.write(source, 20 * MB)
    expected = reference(source.read_bytes(), dirty.spec()).rejects
    with tempfile.TemporaryDirectory() as work, source.open("rb") as file:
        found = pl.read_parquet(prepare_upload(file, source.name, dirty.spec(), Path(work)).rejects).rows()
    return len(set(expected) ^ set(found)) + abs(len(expected) - len(found))


def full(folder: Path, size_mb: int, peers: tuple[str, ...], repeats: int) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Peers take turns, so that a slow minute of the machine is shared."""
    source = folder / "dirty.csv"
    rows = dirty.write(source, size_mb * MB)
    print(f"{source.stat().st_size / MB:.0f} MB, {rows:,} rows", flush=True)
    raw = [run(peer, source) for _ in range(repeats) for peer in peers]
    seconds = {peer: statistics.median(r["seconds"] for r in raw if r["peer"] == peer) for peer in peers}
    figures = {f"speedup_vs_{peer}_{size_mb}mb": round(seconds[peer] / seconds["ours"], 2) for peer in peers if peer != "ours"}
    figures |= {f"seconds_{peer}_{size_mb}mb": seconds[peer] for peer in peers}
    figures[f"rss_mb_{size_mb}mb"] = statistics.median(r["rss_mb"] for r in raw if r["peer"] == "ours")
    figures["reject_rows_differing_from_reference"] = differing_rejects(folder)
    return figures, raw


def ten_gb(folder: Path) -> tuple[dict[str, float], list[dict[str, Any]]]:
    source = folder / "dirty.csv"
    dirty.write(source, 10_000 * MB)
    result = run("ours", source)
    return {"rss_mb_10gb": result["rss_mb"], "seconds_ours_10gb": result["seconds"]}, [result | {"size": "10 GB"}]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--10gb", action="store_true", dest="ten_gb")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    parser.add_argument("--folder", type=Path, help="where the files are made (10 GB and as much again for --10gb)")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        if options.quick:
            print(json.dumps(full(Path(folder), 60, tuple(options.peers), 1)[0], indent=1))
            return
        figures, raw = ten_gb(Path(folder)) if options.ten_gb else full(Path(folder), 500, PEERS, REPEATS)
    stored = ROOT / "benchmarks" / "results" / "prepare.json"
    before = json.loads(stored.read_text(encoding="utf-8")) if stored.exists() else {"figures": {}, "raw": []}
    raw = [*(r for r in before["raw"] if ("size" in r) != options.ten_gb), *raw]
    command = "python -m benchmarks.prepare; python -m benchmarks.prepare --10gb"
    write("prepare", command=command, repeats=REPEATS, seconds=time.monotonic() - began, figures=before["figures"] | figures, raw=raw)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
