"""The small ports: S3, SSM, SQS, Step Functions, SageMaker's registry and endpoints."""

import json
import math
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from tidemill import keys
from tidemill.adapters.errors import translated
from tidemill.errors import AlreadyRunning, ObjectMissing, SmokeFailed
from tidemill.ports import ModelEntry

ANSWERED_BY = "CustomAttributes"


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

    def put(self, key: str, data: bytes) -> None:
        with translated(self.uri(key)):
            self._s3.put_object(Bucket=self._bucket, Key=key, Body=data)

    def exists(self, key: str) -> bool:
        try:
            with translated(self.uri(key)):
                self._s3.head_object(Bucket=self._bucket, Key=key)
        except ObjectMissing:
            return False
        return True

    def uri(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"


class ParameterModels:
    """`tidemill.ports.Models` on SSM parameters, one a model, written by the deployment."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._ssm = boto3.client("ssm")

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
        try:
            with translated(execution, ExecutionDoesNotExist=ObjectMissing):
                return bool(self._sfn.describe_execution(executionArn=execution)["status"] == "RUNNING")
        except ObjectMissing:
            return False

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
