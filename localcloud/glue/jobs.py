"""Job definitions, and the Glue API as far as it is about jobs.

Source: docs.aws.amazon.com/glue/latest/dg/aws-glue-api-jobs-job.html
"""

from datetime import UTC, datetime
from typing import Any

from localcloud.clients import Clients
from localcloud.clock import Clock
from localcloud.errors import ServiceError
from localcloud.front import Service
from localcloud.glue.accepted import UPDATE, check_job
from localcloud.glue.runs import Runs
from localcloud.glue.script import job_arn

CATALOG = frozenset(
    f"{verb}{thing}" for verb in ("Create", "Delete", "Get", "Update") for thing in ("Database", "Partition", "Table")
) | {
    "BatchCreatePartition", "BatchDeletePartition", "BatchDeleteTable", "BatchGetPartition", "BatchUpdatePartition", "DeleteTableVersion",
    "GetDatabases", "GetPartitions", "GetTableVersion", "GetTableVersions", "GetTables", "GetTags", "SearchTables", "TagResource", "UntagResource",
}  # fmt: skip
"""The Data Catalog is moto's, and so are the tags of everything."""
DEFAULTS = {"ExecutionProperty": {"MaxConcurrentRuns": 1}, "MaxRetries": 0, "Timeout": 480, "JobMode": "SCRIPT", "ExecutionClass": "STANDARD"}
"""480 minutes: since Glue 5.0."""
PAGE = 200


class Jobs:
    """All jobs of the account."""

    def __init__(self, runs: Runs, clients: Clients, clock: Clock) -> None:
        self._runs = runs
        self._clients = clients
        self._clock = clock
        self._jobs: dict[str, dict[str, Any]] = {}

    def service(self) -> Service:
        operations = {
            "BatchStopJobRun": self._runs.stop,
            "CreateJob": self.create,
            "DeleteJob": self.delete,
            "GetJob": lambda p: {"Job": self._job(p["JobName"], f"Job with name: [{p['JobName']}] not found.")},
            "GetJobRun": self._runs.get,
            "GetJobRuns": self._list_runs,
            "GetJobs": lambda p: page(p, "Jobs", list(self._jobs.values())),
            "ListJobs": lambda p: page(p, "JobNames", list(self._jobs)),
            "StartJobRun": self._start,
            "UpdateJob": self.update,
        }
        return Service("glue", operations, passed=CATALOG)

    def create(self, p: dict[str, Any]) -> dict[str, Any]:
        check_job("CreateJob", p)
        if p["Name"] in self._jobs:
            raise ServiceError("AlreadyExistsException", "Job already exists.")
        now = self._moment()
        self._jobs[p["Name"]] = _defined(p) | {"Name": p["Name"], "CreatedOn": now, "LastModifiedOn": now}
        if p.get("Tags"):
            self._clients("glue").tag_resource(ResourceArn=job_arn(p["Name"]), TagsToAdd=p["Tags"])
        return {"Name": p["Name"]}

    def update(self, p: dict[str, Any]) -> dict[str, Any]:
        """What the update does not say goes back to its default (API_UpdateJob)."""
        job = self._job(p["JobName"], f"Job with name: [{p['JobName']}] not found.")
        check_job("UpdateJob", p["JobUpdate"])
        kept = {name: job[name] for name in ("Name", "CreatedOn")}
        self._jobs[p["JobName"]] = _defined(p["JobUpdate"]) | kept | {"LastModifiedOn": self._moment()}
        return {"JobName": p["JobName"]}

    def delete(self, p: dict[str, Any]) -> dict[str, Any]:
        """One that is not there is no error (API_DeleteJob)."""
        if self._jobs.pop(p["JobName"], None) is not None:
            tags = self._clients("glue").get_tags(ResourceArn=job_arn(p["JobName"]))["Tags"]
            self._clients("glue").untag_resource(ResourceArn=job_arn(p["JobName"]), TagsToRemove=sorted(tags))
        return {"JobName": p["JobName"]}

    def _start(self, p: dict[str, Any]) -> dict[str, Any]:
        return self._runs.start(self._job(p["JobName"], "Failed to start job run due to missing metadata"), p)

    def _list_runs(self, p: dict[str, Any]) -> dict[str, Any]:
        self._job(p["JobName"], f"Job with name: [{p['JobName']}] not found.")
        return page(p, "JobRuns", self._runs.of(p["JobName"]))

    def _job(self, name: str, told: str) -> dict[str, Any]:
        if name not in self._jobs:
            raise ServiceError("EntityNotFoundException", told)
        return self._jobs[name]

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)


def _defined(p: dict[str, Any]) -> dict[str, Any]:
    return DEFAULTS | {name: value for name, value in p.items() if name in UPDATE}


def page(p: dict[str, Any], name: str, found: list[Any]) -> dict[str, Any]:
    start, size = int(p.get("NextToken") or 0), p.get("MaxResults") or PAGE
    return {name: found[start : start + size]} | ({"NextToken": str(start + size)} if start + size < len(found) else {})
