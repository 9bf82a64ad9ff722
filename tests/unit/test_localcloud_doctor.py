"""`localcloud doctor` names what is missing."""

import socket
import sys
from pathlib import Path

from typer.testing import CliRunner

from localcloud.cli import app


def doctor(path, port: int = 1) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["doctor", "--config", str(path), "--port", str(port)])
    return done.exit_code, done.output


def configured(folder, python: str, command: str) -> str:
    path = folder / "localcloud.toml"
    path.write_text(f'lambda_python = "{python}"\n[[images]]\nrepository = "x"\n[images.commands]\ntrain = ["{command}"]\n')
    return str(path)


def test_what_is_there_is_ok(tmp_path):
    code, told = doctor(configured(tmp_path, sys.executable, sys.executable))
    assert code == 0, told
    assert "lambda_python has awslambdaric and boto3" in told
    assert "MISSING" not in told


def test_what_glue_jobs_want_is_looked_at_and_does_not_stop_the_rest(tmp_path, monkeypatch):
    java = tmp_path / "bin/java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho 'openjdk version \"21.0.2\" 2024-01-16' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    path = configured(tmp_path, sys.executable, sys.executable)
    with Path(path).open("a") as file:
        file.write('\n[glue]\npython = "./no-such-python"\n')
    code, told = doctor(path)
    assert code == 0, told
    assert f"without [glue] python: {tmp_path}/no-such-python - no such program" in told
    assert "without java 21 - install Java 17" in told


def test_what_is_missing_is_named_with_advice(tmp_path):
    code, told = doctor(configured(tmp_path, "./no-such-python", "./no-such-program"))
    assert code == 1
    assert f"MISSING lambda_python: {tmp_path}/no-such-python - no such program" in told
    assert "MISSING image x, command 'train'" in told


def test_a_missing_configuration_is_named(tmp_path):
    code, told = doctor(tmp_path / "localcloud.toml")
    assert code == 1
    assert "not found; run localcloud where localcloud.toml lies" in told


def test_a_taken_port_is_named(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, told = doctor(configured(tmp_path, sys.executable, sys.executable), taken.getsockname()[1])
    assert code == 1
    assert "MISSING port" in told
    assert "stop what listens there" in told
