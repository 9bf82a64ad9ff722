"""One localcloud for the session and no stacks: each module is asked for what AWS documents."""

import io
import json
import time
import uuid
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from localcloud import ACCOUNT, REGION
from localcloud.cloud import LocalCloud
from localcloud.config import Glue, Image, LocalConfig

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 20.0
CONTAINER = str(ROOT / "tests/conformance/container.py")
PYTHON = "./.venv/bin/python"


@dataclass
class Account:
    """The account of a running localcloud, with shortcuts for what every test needs."""

    cloud: LocalCloud

    def client(self, service: str) -> Any:
        """A client with the key of the account itself."""
        return self.cloud.clients(service)

    def name(self, word: str) -> str:
        """A name nobody else has."""
        return f"{word}-{uuid.uuid4().hex[:8]}"

    def role(self, service: str, *statements: dict, conditions: dict | None = None) -> str:
        """A role that a service and the account may assume, with these identity statements; its ARN."""
        trust = {"Effect": "Allow", "Principal": {"Service": service, "AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
        name = self.name("role")
        document = {"Version": "2012-10-17", "Statement": [trust | ({"Condition": conditions} if conditions else {})]}
        arn = self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document))["Role"]["Arn"]
        self.grant(arn, *statements)
        return arn

    def grant(self, role: str, *statements: dict) -> None:
        """One more inline policy."""
        if statements:
            policy = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
            self.client("iam").put_role_policy(RoleName=role.rpartition("/")[2], PolicyName=self.name("p"), PolicyDocument=policy)

    def acting(self, role: str) -> Callable[[str], Any]:
        """Clients with a session of a role."""
        keys = self.client("sts").assume_role(RoleArn=role, RoleSessionName="tester")["Credentials"]
        return lambda service: boto3.client(
            service, endpoint_url=self.cloud.endpoint, region_name=REGION, aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"], aws_session_token=keys["SessionToken"],
        )  # fmt: skip

    def function(self, source: str, *statements: dict, **settings: Any) -> str:
        """A Lambda function from the source of a module with `handler`; its role may log and what `statements` say. Its ARN."""
        name = self.name("function")
        role = self.role("lambda.amazonaws.com", allow(["logs:CreateLogStream", "logs:PutLogEvents"], "*"), *statements)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("index.py", source)
        made = self.client("lambda").create_function(
            FunctionName=name, Runtime="python3.13", Handler="index.handler", Role=role, Code={"ZipFile": buffer.getvalue()}, **settings
        )
        return made["FunctionArn"]

    def invoke(self, function: str, event: Any = None, **more: Any) -> tuple[Any, str | None]:
        """(answer, FunctionError) of a synchronous invocation."""
        answer = self.client("lambda").invoke(FunctionName=function, Payload=json.dumps(event or {}).encode(), **more)
        return json.loads(answer["Payload"].read() or b"null"), answer.get("FunctionError")

    def queue(self, **attributes: str) -> tuple[str, str]:
        """(url, ARN) of a new queue."""
        name = self.name("queue")
        url = self.client("sqs").create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]
        return url, f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}"

    def open_queue(self, service: str, **attributes: str) -> tuple[str, str]:
        """A queue that an AWS service may send to."""
        url, arn = self.queue(**attributes)
        statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sqs:SendMessage", "Resource": arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        self.client("sqs").set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
        return url, arn

    def messages(self, url: str, number: int = 1) -> list[dict]:
        """The next messages of a queue, each taken out; waits for them."""
        found: list[dict] = []

        def more() -> bool:
            answer = self.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10, AttributeNames=["All"], MessageAttributeNames=["All"])
            for message in answer.get("Messages", []):
                self.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                found.append(message)
            return len(found) >= number

        until(more)
        return found

    def log(self, group: str) -> list[str]:
        """All lines of a log group."""
        self.cloud.logs.flush()
        events = self.client("logs").filter_log_events(logGroupName=group)["events"]
        return [event["message"] for event in events]


def allow(actions: str | list[str], resource: str | list[str], **conditions: dict) -> dict:
    return {"Effect": "Allow", "Action": actions, "Resource": resource} | ({"Condition": conditions} if conditions else {})


def deny(actions: str | list[str], resource: str | list[str], **conditions: dict) -> dict:
    return allow(actions, resource, **conditions) | {"Effect": "Deny"}


def until(question: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """The first answer that is true. Fails after `patience_s` of real time."""
    ends = time.monotonic() + patience_s
    while not (answer := question()):
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.02)
    return answer


@pytest.fixture(scope="session")
def cloud() -> Iterator[LocalCloud]:
    commands = {word: [PYTHON, CONTAINER, word] for word in ("train", "process", "serve")}
    config = LocalConfig(
        root=ROOT, lambda_python="./.venv-lambda/bin/python", images=(Image(repository="test*", commands=commands),), glue=Glue(python=PYTHON)
    )
    with LocalCloud(config) as running:
        yield running


@pytest.fixture
def account(cloud: LocalCloud) -> Iterator[Account]:
    cloud.faults.set()
    yield Account(cloud)
    cloud.faults.set()


@pytest.fixture
def bucket(account):
    name = account.name("bucket")
    account.client("s3").create_bucket(Bucket=name)
    return name
