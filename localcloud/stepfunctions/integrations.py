"""What a Task can call: functions, jobs of SageMaker and Glue that are waited for, and any SDK operation of the services below.

Names of services and errors are the Java SDK's: docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
"""

import json
import logging
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from functools import cache
from typing import Any

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from localcloud.clients import Clients
from localcloud.errors import NotSupported, ServiceError
from localcloud.models import service_model
from localcloud.shapes import coerce, pascal
from localcloud.stepfunctions.failure import StateFailure, Stopped
from localcloud.stepfunctions.patience import Patience
from localcloud.stepfunctions.waited import JOBS

log = logging.getLogger("localcloud")

PREFIX = "arn:aws:states:::"
INVOKE = "lambda:invoke"
SDK = {
    "cloudformation": ("cloudformation", "CloudFormation"), "cloudwatch": ("cloudwatch", "CloudWatch"), "cloudwatchlogs": ("logs", "CloudWatchLogs"),
    "codebuild": ("codebuild", "CodeBuild"), "dynamodb": ("dynamodb", "DynamoDb"), "ecr": ("ecr", "Ecr"), "eventbridge": ("events", "EventBridge"),
    "glue": ("glue", "Glue"), "iam": ("iam", "Iam"), "kms": ("kms", "Kms"), "lambda": ("lambda", "Lambda"), "s3": ("s3", "S3"),
    "sagemaker": ("sagemaker", "SageMaker"),
    "sagemakerruntime": ("sagemaker-runtime", "SageMakerRuntime"), "sfn": ("stepfunctions", "Sfn"), "sns": ("sns", "Sns"), "sqs": ("sqs", "Sqs"),
    "ssm": ("ssm", "Ssm"), "sts": ("sts", "Sts"),
}  # fmt: skip
"""Step Functions' name of a service → botocore's, and the prefix of its errors."""
OPTIMIZED = {
    "glue": ("AWSGlue", "AWSGlueException"), "lambda": ("AWSLambda", "AWSLambdaException"), "sagemaker": ("AmazonSageMaker", "AmazonSageMakerException"),
}  # fmt: skip
"""The optimized integrations speak with the older SDK: its name of the service, and of an error the service's model does not have."""
UNSPECIFIC = {"AccessDenied"}
"""Modelled for one new operation of S3 only; everywhere else it is S3.S3Exception."""
POLL_S = 0.1


def resource_type(resource: str) -> str:
    """`lambda` of arn:aws:states:::lambda:invoke, `aws-sdk:s3` of arn:aws:states:::aws-sdk:s3:getObject."""
    return resource.removeprefix(PREFIX).rpartition(":")[0]


def check(resource: str, arguments: Any, path: str) -> None:
    """Refuse, when a machine is made, a resource that cannot be called and arguments it does not have."""
    service, action, _ = _parts(resource, path)
    shape = service_model(service).operation_model(action).input_shape
    if not isinstance(arguments, dict):
        return  # an expression: what it gives is looked at when the task runs
    faults = [f"The field '{name}' is not supported by Step Functions" for name in _foreign(shape, arguments, "")]
    faults += [f"The field '{name}' is required but was missing" for name in (_pascal(m) for m in shape.required_members) if name not in arguments]
    if faults:
        told = "; ".join(f"{fault} at {path}/Arguments" for fault in faults)
        raise ServiceError("InvalidDefinition", f"Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: {told}'")


def _parts(resource: str, path: str = "") -> tuple[str, str, bool]:
    """(botocore's service, operation, whether it is an optimized integration)."""
    name = resource.removeprefix(PREFIX)
    kind, _, action = name.rpartition(":")
    if name == INVOKE or (action.endswith(".sync") and (kind, action.removesuffix(".sync")) in JOBS):
        return kind, _operations(kind)[action.removesuffix(".sync").lower()], True
    known = SDK.get(kind.removeprefix("aws-sdk:")) if kind.startswith("aws-sdk:") else None
    if known is None:
        raise NotSupported(f"the task resource {resource} ({path})")
    if action[:1].isupper() or action.lower() not in _operations(known[0]):
        raise ServiceError(
            "InvalidDefinition",
            f"Invalid State Machine Definition: 'SCHEMA_VALIDATION_FAILED: The resource provided {resource} is not recognized. "
            f"The value is not a valid resource ARN, or the resource is not available in this region. at {path}/Resource'",
        )
    return known[0], _operations(known[0])[action.lower()], False


class Integrations:
    """Calls one task's resource. `pause` waits and raises when the execution was stopped or timed out."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def call(self, resource: str, arguments: dict[str, Any], pause: Patience) -> Any:
        """The result as Step Functions shows it: PascalCase, times as ISO text. Raises StateFailure."""
        service, operation, optimized = _parts(resource)
        if not optimized:
            return self._call(service, operation, arguments, pause, optimized=False)
        return self._invoke(arguments, pause) if service == "lambda" else self._job(resource, service, operation, arguments, pause)

    def _invoke(self, arguments: dict[str, Any], pause: Patience) -> Any:
        payload = json.dumps(arguments.get("Payload", {})).encode()
        answer = self._call("lambda", "Invoke", arguments | {"Payload": payload}, pause, optimized=True)
        body = answer["Payload"] = _json_or_text(answer.get("Payload", ""))
        if answer.get("FunctionError"):
            failure = body if isinstance(body, dict) else {}
            raise StateFailure(str(failure.get("errorType", "Lambda.Unknown")), json.dumps(body, ensure_ascii=False, separators=(",", ":")))
        return {name: answer[name] for name in ("ExecutedVersion", "Payload", "StatusCode") if name in answer}

    def _job(self, resource: str, service: str, operation: str, arguments: dict[str, Any], pause: Patience) -> Any:
        waited = JOBS[service, resource.rpartition(":")[2].removesuffix(".sync")]
        named = waited.named(arguments, self._call(service, operation, arguments, pause, optimized=True))
        try:
            while True:
                answer = self._call(service, waited.describe, named, pause, optimized=True)
                job = answer[waited.shown] if waited.shown else answer
                if job[waited.state] == waited.done:
                    return job
                if job[waited.state] in waited.failed:
                    raise JobEnded(json.dumps(job, separators=(",", ":")))
                pause(POLL_S)
        except JobEnded:
            raise
        except (StateFailure, Stopped):
            with suppress(ClientError):  # it has ended meanwhile, or the role may not stop it
                getattr(self._clients(service), xform_name(waited.stop))(**waited.stopped(named))
            raise

    def _call(self, service: str, operation: str, arguments: dict[str, Any], pause: Patience, *, optimized: bool) -> Any:
        model = service_model(service).operation_model(operation)
        if faults := list(_foreign(model.input_shape, arguments, "")):
            raise StateFailure("States.Runtime", f"The field {', '.join(faults)} is not supported by Step Functions: {service}:{operation}")
        client = self._clients(service)
        try:
            answer = pause.during(lambda: _plain(getattr(client, xform_name(operation))(**coerce(model.input_shape, arguments))))
            return pascal(model.output_shape, answer)
        except ClientError as error:
            raise _failure(service, error, optimized=optimized) from error
        except ParamValidationError as error:
            raise StateFailure("States.Runtime", f"{service}:{operation}: {error}") from error
        except BotoCoreError as error:
            raise StateFailure(f"{_prefix(service)}.SdkClientException", str(error)) from error


class JobEnded(StateFailure):
    """The job that was waited for failed or was stopped: nothing is left to stop."""

    def __init__(self, cause: str) -> None:
        super().__init__("States.TaskFailed", cause)


def _json_or_text(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _failure(service: str, error: ClientError, *, optimized: bool) -> StateFailure:
    """The error in the words of the SDK that the integration uses."""
    answer, meta = error.response["Error"], error.response.get("ResponseMetadata", {})
    code, message, status, request = answer["Code"], answer.get("Message", ""), meta.get("HTTPStatusCode"), meta.get("RequestId", "")
    prefix = _prefix(service)
    known = {shape.name for shape in service_model(service).error_shapes} - UNSPECIFIC
    modelled = next((name for name in (code, answer.get("QueryErrorCode")) if name in known), None)  # the latter: SQS's own name of it
    if optimized:
        named, other = OPTIMIZED[service]
        told = f"{message} (Service: {named}; Status Code: {status}; Error Code: {code}; Request ID: {request}; Proxy: null)"
    else:
        other = f"{prefix}Exception"
        extended = f", Extended Request ID: {meta.get('HostId', '')}" if service == "s3" else ""
        told = f"{message} (Service: {prefix}, Status Code: {status}, Request ID: {request}{extended})"
    name = modelled or other
    return StateFailure(f"{prefix}.{name if name.endswith('Exception') else f'{name}Exception'}", told)


def _prefix(service: str) -> str:
    return next(prefix for name, prefix in SDK.values() if name == service)


def _foreign(shape: Any, value: Any, path: str) -> Iterator[str]:
    """Members that the operation does not have, by the names Step Functions gives them: always in PascalCase."""
    if shape.type_name == "structure" and isinstance(value, dict):
        known = {_pascal(name): member for name, member in shape.members.items()}
        for name, item in value.items():
            if name not in known:
                yield f"{path}{name}"
            else:
                yield from _foreign(known[name], item, f"{path}{name}.")
    elif shape.type_name == "list" and isinstance(value, list):
        for item in value:
            yield from _foreign(shape.member, item, path)


def _pascal(name: str) -> str:
    return name[:1].upper() + name[1:]


@cache
def _operations(service: str) -> dict[str, str]:
    """Lower-case operation name → its name."""
    return {name.lower(): name for name in service_model(service).operation_names}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if name != "ResponseMetadata"}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if hasattr(value, "read"):
        return value.read().decode(errors="replace")
    return value
