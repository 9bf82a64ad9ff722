"""One execution environment: an unpacked function with its layers, and the process that runs it."""

import json
import math
import shutil
import signal
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from localcloud.functions.runtime_api import Cause, Invocation, RuntimeApi, init_cause
from localcloud.processes import Child, Processes, base_environment

TAIL_BYTES = 4096
RESPONSE_BYTES = 6_291_556
INIT_S = 10.0
SAMPLE_S = 0.025
MIB = 1024 * 1024
TIMEOUT: Cause = ("timeout", "")
TOO_LARGE = f"Response payload size exceeded maximum allowed payload size ({RESPONSE_BYTES} bytes)."


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
    role: str
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
    """A warm process. It serves one invocation at a time, and dies on a timeout or when it takes too much memory.

    `credentials`: the environment variables that hold its own key of the function's role. `on_line` takes log lines.
    `tmp`: a folder in which it gets its own /tmp.
    """

    def __init__(
        self, blueprint: Blueprint, python: str, credentials: dict[str, str], processes: Processes, on_line: Callable[[str, str], None], tmp: Path
    ) -> None:
        self._blueprint = blueprint
        self._on_line = on_line
        self._api = RuntimeApi()
        self._stream = f"{time.strftime('%Y/%m/%d', time.gmtime())}/[{blueprint.version}]{uuid.uuid4().hex}"
        self._tail: deque[str] = deque(maxlen=TAIL_BYTES)
        self._tmp = Path(tempfile.mkdtemp(prefix="lambda-", dir=tmp))
        self._stopped = False
        self._peak = 0
        self._out_of_memory = False
        self.access_key = credentials.get("AWS_ACCESS_KEY_ID", "")
        self.busy = True
        self.idle_since = 0.0
        self._began = time.monotonic()
        self._init_ms: float | None = None
        self._child: Child = processes.start(
            [python, "-m", "awslambdaric", blueprint.handler], env=self._variables(credentials), cwd=blueprint.code, on_line=self._line
        )
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._child.running and self._api.init_error is None

    def invoke(self, event: bytes, request: str) -> Outcome:
        """Run the handler on an event and wait for it, at most the function's timeout; a cold start has 10 s more.

        `request`: the id of the invocation.

        Payloads of failures: docs.aws.amazon.com/lambda/latest/dg/troubleshooting-invocation.html, wording as AWS answers in 2025.
        """
        blueprint = self._blueprint
        cold = self._init_ms is None
        if cold:
            self._api.ready.wait(INIT_S)
            self._init_ms = (time.monotonic() - self._began) * 1000
            if self._api.init_error is not None:
                self._report_init(self._init_ms, init_cause(self._api.init_error))
        started = time.monotonic()
        invocation = Invocation(request, event, int((time.time() + blueprint.timeout_s) * 1000), blueprint.arn)
        self._tail.clear()
        self._line(f"START RequestId: {request} Version: {blueprint.version}")
        self._api.send(invocation)
        if self._api.init_error is not None:
            invocation.finish(self._api.init_error, "Unhandled", init_cause(self._api.init_error))
        elif not self._child.running:
            self._exited(invocation)
        if not invocation.done.wait(blueprint.timeout_s):
            self._time_out(invocation)
        if len(invocation.payload) > RESPONSE_BYTES:
            invocation.payload = json.dumps({"errorMessage": TOO_LARGE, "errorType": "Function.ResponseSizeTooLarge"}).encode()
            invocation.error = "Unhandled"
        duration_ms = blueprint.timeout_s * 1000 if invocation.cause == TIMEOUT else (time.monotonic() - started) * 1000
        self._child.settle()
        self._report(invocation, duration_ms, self._init_ms if cold and self._api.init_error is None else None)
        if invocation.cause is not None:
            self.stop()
        return Outcome(invocation.payload, invocation.error, "\n".join(self._tail).encode()[-TAIL_BYTES:], duration_ms)

    def sample(self) -> None:
        """Look at the memory that is used now; kill the process when it is more than the function has."""
        rss = self._child.rss_bytes()
        self._peak = max(self._peak, rss)
        if rss > self._blueprint.memory_mb * MIB:
            self._out_of_memory = True
            self._child.signal_group(signal.SIGKILL)

    def kill(self) -> None:
        """Kill the process only, as a crash would: what waits for it learns of it."""
        self._child.signal_group(signal.SIGKILL)

    def stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._child.signal_group(signal.SIGKILL)
        self._api.stop()
        shutil.rmtree(self._tmp, ignore_errors=True)

    def _time_out(self, invocation: Invocation) -> None:
        limit = f"{self._blueprint.timeout_s:.2f} seconds"
        message = f"RequestId: {invocation.request_id} Error: Task timed out after {limit}"
        if not invocation.finish(json.dumps({"errorType": "Sandbox.Timedout", "errorMessage": message}).encode(), "Unhandled", TIMEOUT):
            return
        self.kill()
        self._child.wait()  # killed is not gone yet, and who reads the answer may look
        moment = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        self._line(f"{moment} {invocation.request_id} Task timed out after {limit}")

    def _report_init(self, init_ms: float, cause: Cause) -> None:
        """What is logged of an init phase that failed: docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html"""
        self._child.settle()
        self._line(f"INIT_REPORT Init Duration: {init_ms:.2f} ms\tPhase: init\tStatus: {cause[0]}\tError Type: {cause[1]}\t")

    def _report(self, invocation: Invocation, duration_ms: float, init_ms: float | None) -> None:
        """Since August 2025 the init phase is billed: aws.amazon.com/blogs/compute/aws-lambda-standardizes-billing-for-init-phase"""
        memory = self._blueprint.memory_mb
        self._peak = max(self._peak, self._child.rss_bytes(children=False))
        self._line(f"END RequestId: {invocation.request_id}")
        parts = [
            f"REPORT RequestId: {invocation.request_id}", f"Duration: {duration_ms:.2f} ms", f"Billed Duration: {math.ceil(duration_ms + (init_ms or 0.0))} ms",
            f"Memory Size: {memory} MB", f"Max Memory Used: {min(memory, self._peak // MIB)} MB",
        ]  # fmt: skip
        if init_ms is not None:
            parts.append(f"Init Duration: {init_ms:.2f} ms")
        if invocation.cause is not None:
            status, error_type = invocation.cause
            parts += [f"Status: {status}", *([f"Error Type: {error_type}"] if error_type else [])]
        self._line("\t".join([*parts, ""]))

    def _line(self, text: str) -> None:
        """One log event; awslambdaric separates the lines of a traceback with a carriage return to keep it one."""
        text = text.replace("\r", "\n")
        self._tail.append(text)
        self._on_line(self._stream, text)

    def _watch(self) -> None:
        self._child.wait()
        self._api.ready.set()
        if self._api.current and self._api.init_error is None:
            self._exited(self._api.current)

    def _exited(self, invocation: Invocation) -> None:
        code = self._child.wait()
        if code < 0:
            why = "Error: Runtime exited with error: signal: killed"
        else:
            why = "Error: Runtime exited without providing a reason" if code == 0 else f"Error: Runtime exited with error: exit status {code}"
        if invocation.done.is_set():
            return
        kind = "Runtime.OutOfMemory" if self._out_of_memory else "Runtime.ExitError"
        message = f"RequestId: {invocation.request_id} {why}"
        self._line(f"{message}\n{kind}")
        invocation.finish(json.dumps({"errorType": kind, "errorMessage": message}).encode(), "Unhandled", ("error", kind))

    def _variables(self, credentials: dict[str, str]) -> dict[str, str]:
        b = self._blueprint
        path = [str(b.code)]
        for layer in reversed(b.layers):  # in /opt, later layers overwrite earlier ones
            path += [str(layer / f"python/lib/{b.runtime}/site-packages"), str(layer / "python")]
        return base_environment() | credentials | {
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
