"""One localcloud for the session, with the stacks deployed on it by the same engine the CDK CLI talks to."""

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from examples import follow
from localcloud.cloud import LocalCloud
from localcloud.cloudformation.assembly import deploy
from localcloud.config import load_config
from tidemill.adapters.ledger import DynamoLedger
from tidemill.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 600  # a training run on a machine that others use


def synth(folder: Path, **more: str) -> Path:
    """`python app.py` as the CDK CLI runs it, for the local stage, with more context."""
    context = json.loads((ROOT / "cdk.json").read_text())["context"] | {"stage": "local", "aws:cdk:version-reporting": False} | more
    env = os.environ | {"CDK_OUTDIR": str(folder), "CDK_CONTEXT_JSON": json.dumps(context)}
    env |= {"JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20,21,22,23"}
    subprocess.run([sys.executable, "app.py"], cwd=ROOT, env=env, check=True, stdout=subprocess.DEVNULL)
    return folder


@dataclass
class Deployment:
    """The local stage, as a user and as an operator see it."""

    cloud: LocalCloud
    outputs: dict[str, str]

    def client(self, service: str) -> Any:
        return self.cloud.clients(service)

    @property
    def ledger(self) -> DynamoLedger:
        return DynamoLedger(self.outputs["LedgerTable"], self.client("dynamodb"))

    def upload(self, key: str, data: bytes) -> None:
        self.client("s3").put_object(Bucket=self.outputs["LandingBucket"], Key=key, Body=data)

    def lake(self, key: str) -> bytes:
        return self.client("s3").get_object(Bucket=self.outputs["LakeBucket"], Key=key)["Body"].read()

    def runs(self, machine: str) -> int:
        return len(self.client("stepfunctions").list_executions(stateMachineArn=self.outputs[machine])["executions"])

    def finished(self, machine: str, number: int) -> dict[str, Any]:
        """The machine's `number`-th execution, once it has ended."""
        stepfunctions = self.client("stepfunctions")
        execution = follow.wait_for(self.outputs[machine], number, stepfunctions)
        return until(lambda: (e := stepfunctions.describe_execution(executionArn=execution))["status"] != "RUNNING" and e)

    def learn(self, key: str, data: bytes) -> dict[str, Any]:
        """Upload and wait for the run it causes."""
        number = self.runs("TrainingMachine") + 1
        self.upload(key, data)
        return self.finished("TrainingMachine", number)

    def predict(
        self, body: bytes, content: str = "application/json", accept: str = "application/json", endpoint: str = "EndpointFlights"
    ) -> tuple[bytes, str]:
        answer = self.client("sagemaker-runtime").invoke_endpoint(EndpointName=self.outputs[endpoint], ContentType=content, Accept=accept, Body=body)
        return answer["Body"].read(), answer["CustomAttributes"]

    def log_lines(self, step: str) -> str:
        self.cloud.logs.flush()
        logs, out = self.client("logs"), io.StringIO()
        groups = [g["logGroupName"] for g in logs.describe_log_groups()["logGroups"] if f"-{step}Function" in g["logGroupName"]]
        for group in groups:
            for stream in logs.describe_log_streams(logGroupName=group)["logStreams"]:
                for event in logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]:
                    out.write(event["message"] + "\n")
        return out.getvalue()


def until(condition: Any, patience_s: float = PATIENCE_S) -> Any:
    """The first true value of a condition. Fails the test when it does not come."""
    ends = time.monotonic() + patience_s
    while not (value := condition()):
        if time.monotonic() > ends:
            pytest.fail(f"nothing after {patience_s} s")
        time.sleep(0.05)
    return value


@contextmanager
def ringing(cloudwatch, alarm: str) -> Iterator[None]:
    """An alarm that rings for as long as this takes: each minute it is evaluated anew, and nothing is wrong with the endpoint."""
    over = threading.Event()

    def ring() -> None:
        while not over.is_set():
            cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="ALARM", StateReason="test")
            over.wait(1)

    ringer = threading.Thread(target=ring)
    ringer.start()
    try:
        yield
    finally:
        over.set()
        ringer.join()
        cloudwatch.set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="test")


@pytest.fixture(scope="session")
def models(tmp_path_factory) -> Path:
    """models/ with a gate that lets a challenger pass: a few days of flights seldom show that one model is as good as another."""
    folder = tmp_path_factory.mktemp("models")
    text = (ROOT / "models/flights/model.toml").read_text()
    assert "margin = 0.01" in text
    (folder / "flights").mkdir()
    (folder / "flights/model.toml").write_text(text.replace("margin = 0.01", "margin = 0.5"))
    return folder


@pytest.fixture(scope="session")
def assembly(models, tmp_path_factory) -> Path:
    return synth(tmp_path_factory.mktemp("cdk") / "first", models=str(models))


@pytest.fixture(scope="session")
def cloud() -> LocalCloud:
    with LocalCloud(load_config(ROOT / "localcloud.toml")) as running:
        yield running


@pytest.fixture(scope="session")
def stage(cloud, assembly) -> Deployment:
    outputs = deploy(assembly, cloud.clients)
    return Deployment(cloud, {key: value for stack in outputs.values() for key, value in stack.items()})


@pytest.fixture
def typed(stage, monkeypatch) -> Any:
    """A command as a person types it, with the account's own credentials; its output, once it went well."""
    for name, value in (stage.cloud.clients.account_environment() | {"TIDEMILL_STAGE": "local"}).items():
        monkeypatch.setenv(name, value)

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(app, list(arguments))
        assert done.exit_code == 0, done.output
        return done.output

    return run
