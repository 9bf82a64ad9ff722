"""The small ports: S3, SSM, SQS, Step Functions, SageMaker's registry and endpoints."""

import io
import json
import math
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, BinaryIO, cast

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from tidemill import keys
from tidemill.adapters.errors import translated
from tidemill.errors import AlreadyRunning, ObjectForbidden, ObjectKept, ObjectMissing, SmokeFailed
from tidemill.events import iso
from tidemill.ports import ModelEntry
from tidemill.records import Execution

ANSWERED_BY = "CustomAttributes"
DELETE_AT_ONCE = 1000
READ_BYTES = 1024 * 1024


class S3Store:
    """`tidemill.ports.Store` on one bucket."""

    def __init__(self, bucket: str) -> None:
        self._bucket = bucket
        self._s3 = boto3.client("s3")

    def get(self, key: str, version_id: str | None = None) -> bytes:
        version = {"VersionId": version_id} if version_id else {}
        with translated(self.uri(key)):
            body: bytes = self._s3.get_object(Bucket=self._bucket, Key=key, **version)["Body"].read()
        return body

    def open(self, key: str, version_id: str | None = None) -> BinaryIO:
        version = {"VersionId": version_id} if version_id else {}
        with translated(self.uri(key), AccessDenied=ObjectForbidden):
            body = self._s3.get_object(Bucket=self._bucket, Key=key, **version)["Body"]
        return cast("BinaryIO", io.BufferedReader(_Body(body, self.uri(key)), READ_BYTES))

    def put(self, key: str, data: bytes) -> None:
        with translated(self.uri(key)):
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=data)

    def put_file(self, key: str, path: Path) -> None:
        """One request, so at most 5 GB."""
        with translated(self.uri(key)), path.open("rb") as file:
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=file)

    def exists(self, key: str) -> bool:
        try:
            with translated(self.uri(key)):
                self._s3.head_object(Bucket=self._bucket, Key=key)
        except ObjectMissing:
            return False
        return True

    def list_versions(self, prefix: str) -> list[tuple[str, str]]:
        pages = self._s3.get_paginator("list_object_versions").paginate(Bucket=self._bucket, Prefix=prefix)
        with translated(self.uri(prefix)):
            return [(v["Key"], v["VersionId"]) for page in pages for kind in ("Versions", "DeleteMarkers") for v in page.get(kind, [])]

    def delete_versions(self, versions: list[tuple[str, str]]) -> None:
        """Delete for good, 1,000 a request; versions that are gone already are fine. Raises ObjectKept when S3 keeps one."""
        for start in range(0, len(versions), DELETE_AT_ONCE):
            objects = [{"Key": key, "VersionId": version} for key, version in versions[start : start + DELETE_AT_ONCE]]
            with translated(self.uri("")):
                answer = self._s3.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})
            if kept := [f"{self.uri(e['Key'])}: {e['Code']}: {e.get('Message', '')}" for e in answer.get("Errors", [])]:
                raise ObjectKept(f"{len(kept)} versions were not deleted, the first: {kept[0]}")

    def uri(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"


@dataclass(frozen=True)
class S3Object:
    """One version of an object, read by ranges. It can be pickled: each process that reads it has a client of its own."""

    bucket: str
    key: str
    version_id: str | None

    @property
    def name(self) -> str:
        return self.key.rpartition("/")[2]

    @cached_property
    def size(self) -> int:
        """Raises ObjectMissing."""
        with translated(self._uri, AccessDenied=ObjectForbidden):
            size: int = _s3().head_object(**self._where)["ContentLength"]
        return size

    def read(self, start: int, end: int) -> bytes:
        with translated(self._uri, AccessDenied=ObjectForbidden):
            body: bytes = _s3().get_object(**self._where, Range=f"bytes={start}-{end - 1}")["Body"].read()
        return body

    def open(self) -> BinaryIO:
        return S3Store(self.bucket).open(self.key, self.version_id)

    @property
    def _uri(self) -> str:
        return f"s3://{self.bucket}/{self.key}"

    @property
    def _where(self) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self.key} | ({"VersionId": self.version_id} if self.version_id else {})


@cache
def _s3() -> Any:
    return boto3.client("s3")


class _Body(io.RawIOBase):
    """What S3 sends, as a stream whose failures are ours: a connection that broke is tried again by the caller's caller."""

    def __init__(self, body: Any, uri: str) -> None:
        self._body, self._uri = body, uri

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with translated(self._uri):
            data = self._body.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._body.close()
        super().close()


class ParameterModels:
    """`tidemill.ports.Models` on SSM parameters, one a model, written by the deployment."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._ssm = boto3.client("ssm")

    def names(self) -> list[str]:
        path = keys.parameter_name(self._stage, "")
        with translated(f"models of stage '{self._stage}'"):
            pages = self._ssm.get_paginator("get_parameters_by_path").paginate(Path=path.rstrip("/"))
            return [parameter["Name"].removeprefix(path) for page in pages for parameter in page["Parameters"]]

    def entry(self, model: str) -> ModelEntry:
        with translated(f"model '{model}' is not deployed in stage '{self._stage}'"):
            value = self._ssm.get_parameter(Name=keys.parameter_name(self._stage, model))["Parameter"]["Value"]
        return ModelEntry.model_validate_json(value)

    def folder(self, entry: ModelEntry) -> bytes:
        bucket, _, key = entry.uri.removeprefix("s3://").partition("/")
        return S3Store(bucket).get(key)


class SqsTicks:
    """`tidemill.ports.Ticks` on a queue with per-message delays (whole seconds, at most 900)."""

    def __init__(self, queue_url: str) -> None:
        self._queue_url = queue_url
        self._sqs = boto3.client("sqs")

    def send(self, model: str, delay_s: float) -> None:
        with translated(f"tick for {model}"):
            self._sqs.send_message(QueueUrl=self._queue_url, MessageBody=json.dumps({"model": model}), DelaySeconds=min(900, math.ceil(delay_s)))


class StepFunctions:
    """`tidemill.ports.Workflow` on one state machine."""

    def __init__(self, machine_arn: str) -> None:
        self._machine_arn = machine_arn
        self._sfn = boto3.client("stepfunctions")

    def start(self, name: str, payload: dict[str, Any]) -> str:
        with translated(f"execution {name}", ExecutionAlreadyExists=AlreadyRunning):
            started = self._sfn.start_execution(stateMachineArn=self._machine_arn, name=name, input=json.dumps(payload))
        return str(started["executionArn"])

    def running(self, execution: str) -> bool:
        found = self.look(execution)
        return found is not None and found.alive

    def look(self, execution: str) -> Execution | None:
        try:
            with translated(execution, ExecutionDoesNotExist=ObjectMissing):
                found = self._sfn.describe_execution(executionArn=execution)
        except ObjectMissing:
            return None
        started = iso(round(found["startDate"].timestamp() * 1000))
        return Execution(arn=execution, status=found["status"], started_at=started, error=found.get("error"), cause=found.get("cause"))

    def execution(self, name: str) -> str:
        return f"{self._machine_arn.replace(':stateMachine:', ':execution:')}:{name}"


class SageMakerRegistry:
    """`tidemill.ports.Registry` on SageMaker model packages."""

    def __init__(self) -> None:
        self._sagemaker = boto3.client("sagemaker")

    def create(self, group: str, token: str, package: dict[str, Any]) -> tuple[str, int]:
        """A pending package: one created as approved may send no event that it became so."""
        with translated(f"model package in {group}"):
            arn = self._sagemaker.create_model_package(
                ModelPackageGroupName=group, ClientToken=token, ModelApprovalStatus="PendingManualApproval", **package
            )["ModelPackageArn"]
        return str(arn), int(arn.rpartition("/")[2])

    def approve(self, arn: str, reason: str) -> None:
        self._decide(arn, "Approved", reason)

    def reject(self, arn: str, reason: str) -> None:
        self._decide(arn, "Rejected", reason)

    def _decide(self, arn: str, status: str, reason: str) -> None:
        with translated(arn):
            self._sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus=status, ApprovalDescription=" ".join(reason.split())[:1024])


class SnsAlerts:
    """`tidemill.ports.Alerts` on a topic."""

    def __init__(self, topic_arn: str) -> None:
        self._topic_arn = topic_arn
        self._sns = boto3.client("sns")

    def tell(self, subject: str, text: str) -> None:
        with translated(self._topic_arn):
            self._sns.publish(TopicArn=self._topic_arn, Subject=subject[:100], Message=text)


class SageMakerEndpoints:
    """`tidemill.ports.Endpoints` on SageMaker."""

    def __init__(self) -> None:
        self._runtime = boto3.client("sagemaker-runtime", config=Config(retries={"total_max_attempts": 3, "mode": "standard"}))
        self._sagemaker = boto3.client("sagemaker")

    def invoke(self, endpoint: str, body: bytes) -> tuple[dict[str, Any], str]:
        with translated(f"endpoint {endpoint}", ModelError=SmokeFailed, ValidationError=SmokeFailed):
            answer = self._runtime.invoke_endpoint(EndpointName=endpoint, ContentType="application/json", Accept="application/json", Body=body)
        return json.loads(answer["Body"].read()), answer.get(ANSWERED_BY, "")

    def delete(self, endpoint: str) -> None:
        """Delete an endpoint; one that is gone already is fine."""
        try:
            self._sagemaker.delete_endpoint(EndpointName=endpoint)
        except ClientError as error:
            # SageMaker answers ValidationException for an endpoint that is not there; DescribeEndpoint tells it apart.
            if error.response["Error"]["Code"] != "ValidationException" or self._exists(endpoint):
                raise

    def _exists(self, endpoint: str) -> bool:
        return any(
            e["EndpointName"] == endpoint
            for page in self._sagemaker.get_paginator("list_endpoints").paginate(NameContains=endpoint)
            for e in page["Endpoints"]
        )
