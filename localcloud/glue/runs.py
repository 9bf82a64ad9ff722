"""Job runs: started, watched, stopped, and told to EventBridge when they end.

Source: docs.aws.amazon.com/glue/latest/dg/aws-glue-api-jobs-runs.html and …/job-run-statuses.html
"""

import logging
import secrets
import shutil
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localcloud.clock import Clock
from localcloud.config import ConfigError
from localcloud.constraints import accept
from localcloud.errors import ServiceError
from localcloud.events.bus import EventBus
from localcloud.glue.accepted import RUN, check_arguments
from localcloud.glue.script import LaunchFailed, Script, Scripts, role_arn
from localcloud.iam.authorizer import AccessDenied

log = logging.getLogger("localcloud")

ENDED = {
    "STOPPED": ("INFO", "Job run stopped"),
    "SUCCEEDED": ("INFO", "Job run succeeded"),
    "TIMEOUT": ("WARN", "Job run timed out"),
    "FAILED": ("ERROR", ""),
}
"""Terminal states, with severity and message of their events: docs.aws.amazon.com/eventbridge/latest/ref/events-ref-glue.html"""
OVERRIDABLE = ("Timeout", "WorkerType", "NumberOfWorkers", "MaxCapacity", "AllocatedCapacity", "ExecutionClass", "NotificationProperty")


@dataclass
class Run:
    """A run as GetJobRun shows it, and who wants it to stop."""

    described: dict[str, Any]
    stopping: threading.Event = field(default_factory=threading.Event)

    @property
    def id(self) -> str:
        return str(self.described["Id"])

    @property
    def state(self) -> str:
        return str(self.described["JobRunState"])


class Runs:
    """All runs of the account."""

    def __init__(self, folder: Path, scripts: Scripts, bus: EventBus, clock: Clock) -> None:
        self._folder = folder
        self._scripts = scripts
        self._bus = bus
        self._clock = clock
        self._runs: dict[str, Run] = {}
        self._lock = threading.Lock()

    def start(self, job: dict[str, Any], p: dict[str, Any]) -> dict[str, Any]:
        """Raises ConcurrentRunsExceededException above MaxConcurrentRuns."""
        accept("StartJobRun", p, RUN)
        arguments = {**job.get("DefaultArguments", {}), **p.get("Arguments", {}), **job.get("NonOverridableArguments", {})}
        check_arguments("StartJobRun", arguments)
        now = self._moment()
        described = {name: value for name, value in (job | p).items() if name in OVERRIDABLE} | {
            "Id": f"jr_{secrets.token_hex(32)}", "Attempt": 0, "JobName": job["Name"], "JobMode": job["JobMode"], "StartedOn": now, "LastModifiedOn": now,
            "JobRunState": "STARTING", "Arguments": p.get("Arguments", {}), "PredecessorRuns": [], "ExecutionTime": 0, "LogGroupName": "/aws-glue/jobs",
            "GlueVersion": job.get("GlueVersion", "5.0"),
        }  # fmt: skip
        run = Run(described)
        with self._lock:
            alive = sum(other.described["JobName"] == job["Name"] and other.state not in ENDED for other in self._runs.values())
            if alive >= job["ExecutionProperty"]["MaxConcurrentRuns"]:
                raise ServiceError("ConcurrentRunsExceededException", f"Concurrent runs exceeded for {job['Name']}")
            self._runs[run.id] = run
        threading.Thread(target=self._run, args=(run, dict(job), arguments), daemon=True, name=run.id).start()
        return {"JobRunId": run.id}

    def get(self, p: dict[str, Any]) -> dict[str, Any]:
        run = self._runs.get(p["RunId"])
        if run is None or run.described["JobName"] != p["JobName"]:
            raise ServiceError("EntityNotFoundException", f"Job run with jobName {p['JobName']} and jobRunId {p['RunId']} not found.")
        return {"JobRun": run.described}

    def of(self, job: str) -> list[dict[str, Any]]:
        """Newest first."""
        return [run.described for run in reversed(list(self._runs.values())) if run.described["JobName"] == job]

    def stop(self, p: dict[str, Any]) -> dict[str, Any]:
        """Each run by itself: those that cannot be stopped are told, the others stop."""
        answer: dict[str, list[dict[str, Any]]] = {"SuccessfulSubmissions": [], "Errors": []}
        for run_id in p["JobRunIds"]:
            named = {"JobName": p["JobName"], "JobRunId": run_id}
            run = self._runs.get(run_id)
            if run is None or run.described["JobName"] != p["JobName"]:
                detail = {"ErrorCode": "EntityNotFoundException", "ErrorMessage": f"Job run {run_id} not found."}
                answer["Errors"].append(named | {"ErrorDetail": detail})
            elif run.state in ENDED:
                detail = {"ErrorCode": "InvalidInputException", "ErrorMessage": f"Job run {run_id} is in state {run.state} and cannot be stopped."}
                answer["Errors"].append(named | {"ErrorDetail": detail})
            else:
                self._change(run, "STOPPING")
                run.stopping.set()
                answer["SuccessfulSubmissions"].append(named)
        return answer

    def _run(self, run: Run, job: dict[str, Any], arguments: dict[str, str]) -> None:
        folder = self._folder / run.id
        started = self._clock.now()
        try:
            folder.mkdir(parents=True)
            script = self._scripts.launch(job, run.described, arguments, folder)
            if not run.stopping.is_set():
                self._change(run, "RUNNING")
            state, reason = self._watch(run, script, started + 60 * run.described["Timeout"])
        except AccessDenied:
            state, reason = "FAILED", f"Role {role_arn(job['Role'])} should be given assume role permissions for Glue Service."
        except (ConfigError, LaunchFailed) as error:
            state, reason = "FAILED", f"LAUNCH ERROR | {error}"
        except Exception as error:
            log.exception("job run %s failed inside localcloud", run.id)
            state, reason = "FAILED", f"INTERNAL ERROR | {type(error).__name__}: {error}"
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        self._end(run, "STOPPED" if run.stopping.is_set() else state, reason, started)

    def _watch(self, run: Run, script: Script, deadline: float) -> tuple[str, str]:
        """Until it ends, is stopped, or its time is up, by localcloud's clock."""
        while (code := script.poll()) is None:
            if run.stopping.is_set() or self._clock.now() >= deadline:
                script.stop()
                return "TIMEOUT", ""
        return ("SUCCEEDED", "") if code == 0 else ("FAILED", script.last_error() or f"Command failed with exit code {code}")

    def _end(self, run: Run, state: str, reason: str, started: float) -> None:
        now = self._moment()
        run.described |= {"CompletedOn": now, "ExecutionTime": round(self._clock.now() - started)} | (
            {"ErrorMessage": reason} if state == "FAILED" else {}
        )
        self._change(run, state)
        severity, message = ENDED[state]
        job = run.described["JobName"]
        told = message or f"JobName:{job} and JobRunId:{run.id} failed to execute with exception {reason}"
        detail = {"jobName": job, "severity": severity, "state": state, "jobRunId": run.id, "message": told}
        self._bus.emit("aws.glue", "Glue Job State Change", detail, [])

    def _change(self, run: Run, state: str) -> None:
        run.described |= {"JobRunState": state, "LastModifiedOn": self._moment()}

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)
