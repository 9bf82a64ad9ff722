"""How a benchmark's figures are kept: one file each, with what it takes to repeat them."""

import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def max_rss_mb() -> int:
    """The most this process has held, in MB. getrusage's maximum would include what the process that started it held before exec."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return round(int(status.split("VmHWM:")[1].split()[0]) / 1024)


def write(name: str, *, command: str, repeats: int, seconds: float, figures: dict[str, float], raw: list[Any]) -> None:
    """benchmarks/results/<name>.json; `figures` is flat, medians."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    result = {
        "command": command,
        "commit": commit,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, python {platform.python_version()}",
        "date": datetime.now(UTC).date().isoformat(),
        "repeats": repeats,
        "seconds": round(seconds),
        "figures": figures,
        "raw": raw,
    }
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
