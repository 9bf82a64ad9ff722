"""What a job and its runs may say. A member, value or reserved word that is not here is refused by name.

Sources: docs.aws.amazon.com/glue/latest/webapi/API_Job.html and …/glue/latest/dg/aws-glue-programming-etl-glue-arguments.html
"""

from collections.abc import Mapping
from typing import Any

from localcloud.constraints import SHOWN, accept
from localcloud.errors import NotSupported

WORKERS = {"WorkerType": SHOWN, "NumberOfWorkers": None, "MaxCapacity": SHOWN, "AllocatedCapacity": SHOWN, "ExecutionClass": SHOWN}
UPDATE: dict[str, Any] = {
    "Description": SHOWN, "Role": None, "ExecutionProperty": {"MaxConcurrentRuns": None}, "DefaultArguments": None, "NonOverridableArguments": None,
    "Command": {"Name": {"glueetl"}, "ScriptLocation": None, "PythonVersion": {"3"}}, "MaxRetries": {0}, "Timeout": None,
    "GlueVersion": {"5.0", "5.1", "6.0"}, "JobMode": {"SCRIPT"}, "NotificationProperty": SHOWN, "MaintenanceWindow": SHOWN, **WORKERS,
}  # fmt: skip
JOB: dict[str, Any] = UPDATE | {"Name": None, "Tags": SHOWN}
RUN: dict[str, Any] = {"JobName": None, "Arguments": None, "Timeout": None, "NotificationProperty": SHOWN, **WORKERS}

PYTHON_FILES, MODULES, CONF = "--extra-py-files", "--additional-python-modules", "--conf"
WITHOUT_EFFECT = frozenset({
    "--continuous-log-logGroup", "--enable-auto-scaling", "--enable-continuous-cloudwatch-log", "--enable-continuous-log-filter",
    "--enable-job-insights", "--enable-metrics", "--enable-observability-metrics", "--enable-spark-ui", "--job-language",
    "--python-modules-installer-option", "--spark-event-logs-path",
})  # fmt: skip
"""Words that AWS Glue keeps for itself and that change nothing here; they do not reach the script."""
BOOKMARKS = {"--job-bookmark-option": "job-bookmark-disable"}
REFUSED = frozenset({
    "--class", "--customer-driver-env-vars", "--customer-executor-env-vars", "--datalake-formats", "--enable-glue-datacatalog",
    "--enable-lakeformation-fine-grained-access", "--enable-s3-parquet-optimized-committer", "--extra-files", "--extra-jars", "--scriptLocation",
    "--user-jars-first",
})  # fmt: skip
"""Words that AWS Glue acts on and localcloud does not."""
ACTED_ON = frozenset({PYTHON_FILES, MODULES, CONF})


def check_job(operation: str, job: dict[str, Any]) -> None:
    """Raises NotSupported."""
    accept(operation, job, JOB)
    check_arguments(operation, {**job.get("DefaultArguments", {}), **job.get("NonOverridableArguments", {})})


def check_arguments(operation: str, arguments: Mapping[str, str]) -> None:
    """Raises NotSupported naming the words that would have to do something."""
    refused = sorted(REFUSED & arguments.keys())
    refused += [f"{word}={arguments[word]}" for word, only in BOOKMARKS.items() if arguments.get(word, only) != only]
    refused += [f"{MODULES}={name}" for name in words(arguments.get(MODULES, "")) if not name.startswith("s3://")]
    if arguments.get("--job-language", "python") != "python":
        refused.append(f"--job-language={arguments['--job-language']}")
    if refused:
        raise NotSupported(f"the job argument {', '.join(refused)} of {operation}")


def words(text: str) -> list[str]:
    """The items of a comma-separated argument."""
    return [item.strip() for item in text.split(",") if item.strip()]


def handed_on(arguments: Mapping[str, str]) -> dict[str, str]:
    """The arguments that reach the script."""
    kept = WITHOUT_EFFECT | ACTED_ON | BOOKMARKS.keys()
    return {name: value for name, value in arguments.items() if name not in kept}
