"""localcloud's promise about processes: it leaves none behind, nor its folder, however it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from localcloud.processes import Processes
from tests.conformance.conftest import ROOT, until

DAEMON = """
import os, subprocess, sys
def handler(event, context):
    child = subprocess.Popen(['sleep', '600'], env={'PATH': os.environ['PATH']})
    lost = subprocess.Popen(['sleep', '600'], start_new_session=True)
    return [os.getpid(), child.pid, lost.pid, os.environ['TMPDIR']]
"""
RUN = f"""
import io, json, os, sys, time, zipfile
from pathlib import Path
from localcloud.cloud import LocalCloud
from localcloud.config import LocalConfig
cloud = LocalCloud(LocalConfig(root=Path({str(ROOT)!r}), lambda_python="./.venv-lambda/bin/python"))
cloud.start()
trust = {{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", "Principal": {{"Service": "lambda.amazonaws.com"}}, "Action": "sts:AssumeRole"}}]}}
role = cloud.clients("iam").create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
buffer = io.BytesIO()
with zipfile.ZipFile(buffer, "w") as archive:
    archive.writestr("index.py", {DAEMON!r})
cloud.clients("lambda").create_function(
    FunctionName="f", Runtime="python3.13", Handler="index.handler", Role=role, Code={{"ZipFile": buffer.getvalue()}}, Timeout=20)
told = json.loads(cloud.clients("lambda").invoke(FunctionName="f")["Payload"].read())
print(json.dumps({{"pids": told[:3], "tmp": told[3], "guardian": cloud._processes._guardian.pid, "folder": str(cloud._folder)}}), flush=True)
sys.stdin.readline()
cloud.stop()
"""


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def running(tmp_path):
    """A localcloud in a process of its own with a warm function that has started two processes, and what it told."""
    program = tmp_path / "run.py"
    program.write_text(RUN)
    process = subprocess.Popen(
        [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    yield process, json.loads(process.stdout.readline())
    process.kill()
    process.communicate()


def left(told: dict) -> list:
    """Processes and folders that are still there."""
    return [pid for pid in [*told["pids"], told["guardian"]] if not gone(pid)] + [
        name for name in (told["folder"], told["tmp"]) if Path(name).exists()
    ]


def test_all_that_was_started_is_there_while_it_runs(running):
    _, told = running
    assert not any(gone(pid) for pid in [*told["pids"], told["guardian"]])
    assert Path(told["tmp"]).is_relative_to(told["folder"])


def test_stop_leaves_no_process_and_no_folder(running, tmp_path):
    process, told = running
    process.communicate("\n", timeout=20)
    assert process.returncode == 0
    assert left(told) == []
    assert [path.name for path in tmp_path.iterdir()] == ["run.py"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_nothing_is_left_when_localcloud_is_killed(running, tmp_path, number):
    # The guardian reads a pipe that ends with localcloud. One process has lost its mark and is found by its group, one has left
    # its group and is found by its mark.
    process, told = running
    process.send_signal(number)
    process.wait(10)
    until(lambda: not left(told))
    assert [path.name for path in tmp_path.iterdir()] == ["run.py"]


def test_a_signal_to_the_terminals_processes_does_not_reach_the_guardian(running):
    process, told = running
    assert os.getsid(told["guardian"]) == told["guardian"] != os.getsid(process.pid)


def child(processes: Processes, program: str, lines: list[str], tmp_path: Path):
    environment = {"PATH": os.environ["PATH"]}
    return processes.start([sys.executable, "-c", program], env=environment, cwd=tmp_path, on_line=lines.append)


@pytest.fixture
def processes(tmp_path):
    made = Processes(None)
    yield made
    made.stop_all()


def test_all_output_is_there_when_a_child_has_ended(processes, tmp_path):
    lines: list[str] = []

    def slowly(line: str) -> None:
        time.sleep(0.001)  # the child is long gone when its last line is read
        lines.append(line)

    program = "import sys\nfor i in range(300): print('line', i)\nsys.stdout.flush()\nsys.stderr.write('one\\rtwo\\n')\nsys.stdout.write('no end')"
    started = processes.start([sys.executable, "-c", program], env={"PATH": os.environ["PATH"]}, cwd=tmp_path, on_line=slowly)
    assert started.wait(20) == 0
    assert lines == [*(f"line {i}" for i in range(300)), "one\rtwo", "no end"]


def test_a_child_that_left_its_output_open_elsewhere_is_not_waited_for(processes, tmp_path):
    lines: list[str] = []
    program = "import subprocess\nprint(subprocess.Popen(['sleep', '600'], start_new_session=True).pid, flush=True)"
    ended = child(processes, program, lines, tmp_path)
    assert ended.wait(3) == 0
    until(lambda: lines)
    processes.stop_all()
    until(lambda: gone(int(lines[0])))


def test_bytes_that_are_no_text_are_replaced(processes, tmp_path):
    lines: list[str] = []
    child(processes, "import os; os.write(1, b'a\\xff\\n')", lines, tmp_path).wait(10)
    assert lines == ["a\N{REPLACEMENT CHARACTER}"]


def test_nothing_is_started_any_more_after_stop(tmp_path):
    processes = Processes(None)
    lines: list[str] = []
    running = child(processes, "import time; print('up', flush=True); time.sleep(600)", lines, tmp_path)
    until(lambda: lines)
    assert processes.running == [running.pid]
    processes.stop_all()
    assert (running.running, processes.running) == (False, [])
    with pytest.raises(RuntimeError, match="stopping"):
        child(processes, "", lines, tmp_path)


def test_a_folder_that_is_not_given_is_not_removed(tmp_path, monkeypatch):
    (tmp_path / "mine").touch()
    monkeypatch.chdir(tmp_path)
    Processes(None).stop_all()
    assert (tmp_path / "mine").exists()
    Processes(tmp_path / "gone").stop_all()
    assert (tmp_path / "mine").exists()
