"""What differs between stages, decided at deploy time."""

import platform
import re
import sys
from dataclasses import dataclass
from typing import Literal

NAME = re.compile(r"[a-z][a-z0-9]{0,11}")
Architecture = Literal["arm64", "x86_64"]


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
    email: str | None = None

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name):
            raise ValueError(f"stage '{self.name}': a lower-case letter, then at most 11 letters or digits")


def stage(name: str, email: str | None = None) -> Stage:
    """The settings of a stage: `local` runs on this machine's python and leaves nothing behind, every other is in AWS."""
    if name == "local":
        return Stage(
            name, _machine(), f"{sys.version_info.major}.{sys.version_info.minor}", keep_data=False, quiet_s=1, max_bake_s=1, log_days=7,
            image_wait_s=1,
            poll_s=1, bake_poll_s=1, email=email,
        )  # fmt: skip
    return Stage(
        name, "arm64", "3.13", keep_data=True, quiet_s=None, max_bake_s=86_400, log_days=90, image_wait_s=30, poll_s=10, bake_poll_s=60, email=email
    )


def _machine() -> Architecture:
    return "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64"
