"""What differs between stages, decided at deploy time."""

import platform
import re
import sys
from dataclasses import dataclass, replace
from typing import Literal

NAME = re.compile(r"[a-z][a-z0-9]{0,11}")
Architecture = Literal["arm64", "x86_64"]


@dataclass(frozen=True)
class Retention:
    """Days that things stay which nobody asked to keep. What landing and lake hold now never expires: docs/sql.md says why.

    landing_old, lake_old: versions of objects that were overwritten or deleted; query_results: answers of SQL queries.
    """

    landing_old_days: int
    lake_old_days: int
    query_results_days: int
    multipart_days: int = 7


RETENTION = {
    "local": Retention(landing_old_days=1, lake_old_days=1, query_results_days=1, multipart_days=1),
    "prod": Retention(landing_old_days=90, lake_old_days=90, query_results_days=30),
}
OTHERS = Retention(landing_old_days=30, lake_old_days=30, query_results_days=7)


@dataclass(frozen=True)
class Stage:
    """One deployment. A stage's name is part of every name that people see."""

    name: str
    architecture: Architecture
    python: str
    keep_data: bool
    quiet_s: float | None
    max_bake_s: int
    log_days: int
    image_wait_s: int
    poll_s: int
    bake_poll_s: int
    retention: Retention
    query_scan_gb: int = 100
    email: str | None = None
    large_bytes: int = 1024**3
    glue_workers: int = 10

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"stage '{self.name}': a lower-case letter, then at most 11 letters or digits")


def stage(name: str, email: str | None = None, large_bytes: int = 1024**3) -> Stage:
    """The settings of a stage: `local` runs on this machine's python and leaves nothing behind, every other is in AWS."""
    retention = RETENTION.get(name, OTHERS)
    if name == "local":
        return Stage(
            name, _machine(), f"{sys.version_info.major}.{sys.version_info.minor}", keep_data=False, quiet_s=1, max_bake_s=1, log_days=7,
            image_wait_s=1,
            poll_s=1, bake_poll_s=1, retention=retention, email=email, large_bytes=large_bytes, glue_workers=2,
        )  # fmt: skip
    return Stage(
        name, "arm64", "3.13", keep_data=True, quiet_s=None, max_bake_s=86_400, log_days=90, image_wait_s=30, poll_s=10, bake_poll_s=60,
        retention=retention, email=email, large_bytes=large_bytes,
    )  # fmt: skip


def glue_stage(stage: Stage) -> Stage:
    """The same stage on Glue's machines: what is compiled is built for those. Glue 6.0 runs python 3.13 on x86_64."""
    return stage if stage.name == "local" else replace(stage, architecture="x86_64", python="3.13")


def _machine() -> Architecture:
    return "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
