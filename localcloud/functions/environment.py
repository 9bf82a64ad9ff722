"""One execution environment: an unpacked function with its layers, and the process that runs it."""

import json
import shutil
import signal
import tempfile
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from localcloud.functions.runtime_api import Invocation, RuntimeApi
from localcloud.logs import LogWriter
from localcloud.processes import Child, Processes, base_environment

TAIL_BYTES = 4096


@dataclass(frozen=True)
class Blueprint:
    """What an environment is made of: folders are unpacked already."""

    name: str
    arn: str
    version: str
    handler: str
    runtime: str
    memory_mb: int
    timeout_s: float
    code: Path
    layers: tuple[Path, ...]
    variables: dict[str, str]
    log_group: str


@dataclass(frozen=True)
class Outcome:
    """What an invocation gave: payload, AWS's FunctionError or None, the last 4 KB of log, milliseconds."""

    payload: bytes
    error: str | None
    tail: bytes
    duration_ms: float


class Environment:
    """A warm process. It serves one invocation at a time and dies on a timeout."""

    def __init__(self, blueprint: Blueprint, python: str, aws: dict[str, str], processes: Processes, logs: LogWriter) -> None:
        self._blueprint = blueprint
        self._logs = logs
        self._api = RuntimeApi()
        self._stream = f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{blueprint.version}]{uuid.uuid4().hex}"
        self._tail: deque[str] = deque(maxlen=200)
        self._tmp = Path(tempfile.mkdtemp(prefix="lambda-"))
        self.busy = True
        self._child: Child = processes.start(
            [python, "-m", "awslambdaric", blueprint.handler], env=self._variables(aws), cwd=blueprint.code, on_line=self._line
        )
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._child.running and self._api.init_error is None

    def invoke(self, event: bytes) -> Outcome:
        """Run the handler on an event and wait for it, at most the function's timeout."""
        blueprint = self._blueprint
        started = time.monotonic()
        request = str(uuid.uuid4())
        invocation = Invocation(request, event, int((time.time() + blueprint.timeout_s) * 1000), blueprint.arn)
        self._tail.clear()
        self._line(f"START RequestId: {request} Version: {blueprint.version}")
        self._api.send(invocation)
        if not self._child.running:
            self._exited(invocation)
        if not invocation.done.wait(blueprint.timeout_s):
            self.stop()
            message = f"RequestId: {request} Error: Task timed out after {blueprint.timeout_s:.2f} seconds"
            invocation.finish(json.dumps({"errorType": "Sandbox.Timedout", "errorMessage": message}).encode(), "Unhandled")
        duration_ms = (time.monotonic() - started) * 1000
        self._line(f"END RequestId: {request}")
        billed = f"Billed Duration: {int(duration_ms) + 1} ms\tMemory Size: {blueprint.memory_mb} MB"
        self._line(f"REPORT RequestId: {request}\tDuration: {duration_ms:.2f} ms\t{billed}")
        if self._api.init_error is not None:
            self.stop()
        return Outcome(invocation.payload, invocation.error, "\n".join(self._tail).encode()[-TAIL_BYTES:], duration_ms)

    def stop(self) -> None:
        self._child.signal_group(signal.SIGKILL)
        self._api.stop()
        shutil.rmtree(self._tmp, ignore_errors=True)

    def _line(self, text: str) -> None:
        self._tail.append(text)
        self._logs.write(self._blueprint.log_group, self._stream, text)

    def _watch(self) -> None:
        self._child.wait()
        if self._api.current:
            self._exited(self._api.current)

    def _exited(self, invocation: Invocation) -> None:
        message = f"RequestId: {invocation.request_id} Error: Runtime exited without providing a reason"
        invocation.finish(json.dumps({"errorType": "Runtime.ExitError", "errorMessage": message}).encode(), "Unhandled")

    def _variables(self, aws: dict[str, str]) -> dict[str, str]:
        b = self._blueprint
        path = [str(b.code), *(str(layer / "python") for layer in b.layers)]
        return base_environment() | aws | {
            "_HANDLER": b.handler,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{b.runtime}",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(b.memory_mb),
            "AWS_LAMBDA_FUNCTION_NAME": b.name,
            "AWS_LAMBDA_FUNCTION_VERSION": b.version,
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": b.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": self._stream,
            "AWS_LAMBDA_RUNTIME_API": self._api.address,
            "HOME": str(self._tmp),
            "LAMBDA_TASK_ROOT": str(b.code),
            "PYTHONPATH": ":".join(path),
            "TMPDIR": str(self._tmp),
            "TZ": ":UTC",
        } | b.variables  # fmt: skip
