"""The script of a run: fetched with the job's role, started on local Spark, its output in the logs."""

import os
import signal
import subprocess
import zipfile
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.config import ConfigError, LocalConfig
from localcloud.glue.accepted import CONF, MODULES, PYTHON_FILES, handed_on, words
from localcloud.iam.authorizer import Authorizer
from localcloud.logs import LogWriter
from localcloud.processes import Child, Processes, base_environment

GLUE = "glue.amazonaws.com"
POLL_S, GRACE_S = 0.1, 10.0
TAIL_LINES = 200
OUTPUT, ERROR = "/aws-glue/jobs/output", "/aws-glue/jobs/error"
LOG = ("CreateLogGroup", "CreateLogStream", "PutLogEvents")
TRACEBACK = "Traceback (most recent call last):"
LOCAL = "--conf spark.driver.bindAddress=127.0.0.1 --conf spark.driver.host=127.0.0.1 --conf spark.ui.enabled=false --conf spark.ui.showConsoleProgress=false"


def role_arn(role: str) -> str:
    """A job names its role by ARN or by name."""
    return role if role.startswith("arn:") else f"arn:aws:iam::{ACCOUNT}:role/{role}"


def job_arn(name: str) -> str:
    return f"arn:aws:glue:{REGION}:{ACCOUNT}:job/{name}"


class LaunchFailed(Exception):
    """The script, or a file it needs, did not come; the message is the rest of an ErrorMessage."""


class Script:
    """A script that runs, and the end of what it wrote to standard error."""

    def __init__(self, child: Child, tail: deque[str]) -> None:
        self._child = child
        self._tail = tail

    def poll(self) -> int | None:
        """The exit code; None while it runs, after a moment."""
        try:
            code = self._child.wait(POLL_S)
        except subprocess.TimeoutExpired:
            return None
        self._child.signal_group(signal.SIGKILL)  # what it left behind, as a machine that goes would
        return code

    def stop(self) -> None:
        """SIGTERM, then SIGKILL."""
        self._child.signal_group(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._child.wait(GRACE_S)
        self._child.signal_group(signal.SIGKILL)
        self._child.wait()

    def last_error(self) -> str:
        """The exception that ended it, as the line after its last traceback says; "" without one."""
        lines = list(self._tail)
        begins = max((i for i, line in enumerate(lines) if line == TRACEBACK), default=len(lines))
        return next((line for line in lines[begins + 1 :] if line and not line.startswith(" ")), "")


class Scripts:
    """Starts scripts with a job's role, arguments and files."""

    def __init__(self, config: LocalConfig, clients: Clients, authorizer: Authorizer, logs: LogWriter, processes: Processes) -> None:
        self._config = config
        self._clients = clients
        self._authorizer = authorizer
        self._logs = logs
        self._processes = processes

    def launch(self, job: Mapping[str, Any], run: Mapping[str, Any], arguments: Mapping[str, str], folder: Path) -> Script:
        """Raises AccessDenied for a role that Glue may not have, ConfigError, LaunchFailed."""
        if self._config.glue is None:
            raise ConfigError(f"{self._config.root / 'localcloud.toml'}: no [glue] python, which runs jobs")
        role = role_arn(job["Role"])
        source = job_arn(job["Name"])
        acting = self._clients.acting(self._authorizer.acting(role, GLUE, source))
        script = _fetch(job["Command"]["ScriptLocation"], folder, acting)
        path = _python_path(arguments, folder, acting)
        python = self._config.path(self._config.glue.python)
        env = base_environment() | self._clients.environment(self._authorizer.assume(role, GLUE, f"GlueJobRunnerSession-{run['Id'][:40]}", source))
        env |= _spark(python, run.get("NumberOfWorkers", 1), arguments.get(CONF, ""), folder) | {"PYTHONPATH": ":".join(map(str, path))}
        own = {**handed_on(arguments), "--JOB_ID": f"j_{job['Name']}", "--JOB_RUN_ID": run["Id"], "--JOB_NAME": job["Name"]}
        argv = [python, str(script), *(word for pair in own.items() for word in pair)]
        tail: deque[str] = deque(maxlen=TAIL_LINES)
        write_error = self._writer(role, ERROR, run["Id"])

        def failed(line: str) -> None:
            tail.append(line)
            write_error(line)

        return Script(self._processes.start(argv, env=env, cwd=folder, on_line=self._writer(role, OUTPUT, run["Id"]), on_error=failed), tail)

    def _writer(self, role: str, group: str, stream: str) -> Callable[[str], None]:
        """Glue writes logs with the job's role; without the permissions they are lost, as on AWS."""
        arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:log-stream:{stream}"
        if all([self._authorizer.allows(role, f"logs:{action}", arn) for action in LOG]):  # noqa: C419  # all are recorded
            return lambda line: self._logs.write(group, stream, line)
        return lambda line: None


def _spark(python: str, workers: int, conf: str, folder: Path) -> dict[str, str]:
    """Local Spark with a core a worker, as many as there are, on 127.0.0.1. `conf`: `a=b --conf c=d`, as Glue takes it."""
    cores = max(1, min(workers, os.cpu_count() or 1))
    submit = f"--master local[{cores}] {LOCAL}{f' --conf {conf}' if conf else ''} pyspark-shell"
    java = {"JAVA_HOME": os.environ["JAVA_HOME"]} if "JAVA_HOME" in os.environ else {}
    return java | {
        "PYSPARK_PYTHON": python, "PYSPARK_DRIVER_PYTHON": python, "PYSPARK_SUBMIT_ARGS": submit, "PYTHONUNBUFFERED": "1",
        "SPARK_LOCAL_DIRS": str(folder / "spark"), "SPARK_LOCAL_IP": "127.0.0.1",
    }  # fmt: skip


def _python_path(arguments: Mapping[str, str], folder: Path, clients: Clients) -> list[Path]:
    """The files and wheels that the arguments name, each fetched into a folder of its own: two may have one name."""
    files = [_fetch(uri, folder / f"file-{i}", clients) for i, uri in enumerate(words(arguments.get(PYTHON_FILES, "")))]
    wheels = [_fetch(uri, folder / f"wheel-{i}", clients) for i, uri in enumerate(words(arguments.get(MODULES, "")))]
    return [path.parent if path.suffix == ".py" else path for path in files] + [_unpacked(wheel) for wheel in wheels]


def _fetch(uri: str, folder: Path, clients: Clients) -> Path:
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    target = folder / key.rpartition("/")[2]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        clients("s3").download_file(bucket, key, str(target))
    except (ClientError, BotoCoreError) as error:
        raise LaunchFailed(f"Error downloading from S3 for bucket: {bucket}, key: {key}. {error}") from error
    return target


def _unpacked(wheel: Path) -> Path:
    """A wheel's content in a folder: what is compiled cannot be imported from a zip."""
    target = wheel.with_suffix(".unpacked")
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(target)
    except zipfile.BadZipFile as error:
        raise LaunchFailed(f"{wheel.name} is no wheel") from error
    return target
