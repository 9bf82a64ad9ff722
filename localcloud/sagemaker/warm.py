"""Warm pools: the instances of a job that has ended wait for the next one that asks for the same.

Source: docs.aws.amazon.com/sagemaker/latest/dg/train-warm-pools.html
"""

import threading
from typing import Any

from localcloud.clock import Clock
from localcloud.sagemaker.capacity import instance_type
from localcloud.sagemaker.container import Job

NEVER_HEALTHY = "InternalServerError"
"""A job that failed for this reason may have harmed its instances: they are not kept."""


class WarmPools:
    """Every pool belongs to the last job that ran on it, and is shown as its WarmPoolStatus."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._available: dict[str, tuple[Job, float]] = {}
        self._lock = threading.Lock()

    def take(self, job: Job) -> None:
        """Let a new job have a pool that matches it, if there is one."""
        if job.described.get("EnableManagedSpotTraining"):
            return
        with self._lock:
            found = next((kept for kept, _ in self._available.values() if _matched(kept) == _matched(job)), None)
            if found:
                self._release(found, {"Status": "Reused", "ReusedByJob": job.name})
                job.described["WarmPoolStatus"] = {"Status": "InUse"}

    def keep(self, job: Job, reason: str | None) -> None:
        """Keep the instances of a job that ends, for the time it asked for; `reason` is the one it failed for."""
        seconds = job.described["ResourceConfig"].get("KeepAlivePeriodInSeconds", 0)
        if not seconds and "WarmPoolStatus" not in job.described:
            return
        if not seconds or (reason or "").startswith(NEVER_HEALTHY):
            job.described["WarmPoolStatus"] = {"Status": "Terminated"}
            return
        with self._lock:
            now = self._clock.now()
            self._available[job.name] = (job, now)
            job.described["WarmPoolStatus"] = {"Status": "Available"}
        self._clock.at(now + seconds, lambda: self._expire(job))

    def _expire(self, job: Job) -> None:
        with self._lock:
            if job.name in self._available:
                self._release(job, {"Status": "Terminated"})

    def _release(self, job: Job, status: dict[str, Any]) -> None:
        _, since = self._available.pop(job.name)
        job.described["WarmPoolStatus"] = status | {"ResourceRetainedBillableTimeInSeconds": round(self._clock.now() - since)}


def _matched(job: Job) -> tuple[Any, ...]:
    """What must be identical; the other values on AWS's list are refused here or always the same."""
    p, config = job.described, job.described["ResourceConfig"]
    return (
        p["RoleArn"], instance_type(config), config.get("SelectedInstanceCount", config.get("InstanceCount")), config.get("VolumeSizeInGB"),
        config.get("VolumeKmsKeyId"), bool(p.get("EnableNetworkIsolation")),
    )  # fmt: skip
