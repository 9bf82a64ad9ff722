"""`make demo` as a user runs it: the real CDK CLI, real flights, exit code 0, nothing left running."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]


def demo(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "examples.demo", *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=380)


def left_running() -> set[str]:
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return {line for line in listed.splitlines() if "awslambdaric" in line or "training.serve" in line}


def test_the_demo_tells_its_story_and_stops_what_it_started():
    before = left_running()
    done = demo()
    assert done.returncode == 0, done.stdout + done.stderr
    for told in (
        "by the CDK CLI",
        "run 0001",
        "flights/1 approved",
        "live endpoint answers as flights/1",
        "p(late)",
        "run 0002",
        "vs champion flights/1",
    ):
        assert told in done.stdout, done.stdout
    assert "failed" not in done.stdout
    assert left_running() - before == set()


def test_a_failing_step_ends_the_demo_with_its_log(tmp_path):
    """A container whose training fails: exit code 1, the reason, and the log."""
    done = demo("--config", str(broken_config(tmp_path)))
    assert done.returncode == 1
    assert "failed:" in done.stdout
    assert "exit code: 7" in done.stdout


def broken_config(folder: Path) -> Path:
    text = (ROOT / "localcloud.toml").read_text().replace('"./', f'"{ROOT}/')
    text = text.replace(f'train = ["{ROOT}/.venv/bin/python", "-m", "training.train"]', 'train = ["/bin/sh", "-c", "exit 7"]')
    path = folder / "localcloud.toml"
    path.write_text(text.replace('PYTHONPATH = "."', f'PYTHONPATH = "{ROOT}"'))
    return path
