"""What a Task can call: functions, SageMaker jobs that are waited for, and any SDK operation.

Error names: docs.aws.amazon.com/step-functions/latest/dg/supported-services-awssdk.html
"""

import json
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Any

import botocore.session
from botocore import xform_name
from botocore.exceptions import ClientError, ParamValidationError

from localcloud.clients import Clients
from localcloud.shapes import coerce, pascal, unknown
from localcloud.stepfunctions.failure import StateFailure, Stopped

PREFIX = "arn:aws:states:::"
JOBS = {
    "createTrainingJob": ("describe_training_job", "stop_training_job", "TrainingJobName", "TrainingJobStatus"),
    "createProcessingJob": ("describe_processing_job", "stop_processing_job", "ProcessingJobName", "ProcessingJobStatus"),
}
SDK_PREFIX = {"ecr": "Ecr", "sagemaker": "SageMaker", "cloudwatch": "CloudWatch", "sns": "Sns", "sqs": "Sqs", "codebuild": "CodeBuild"}
POLL_S = 0.1

Pause = Callable[[float], None]


class Integrations:
    """Calls one task's resource. `pause` waits and raises when the execution was stopped or timed out."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def call(self, resource: str, arguments: dict[str, Any], pause: Pause) -> Any:
        """The result as Step Functions shows it: PascalCase, times as ISO text. Raises StateFailure."""
        name = resource.removeprefix(PREFIX)
        if name == "lambda:invoke":
            return self._invoke(arguments)
        service, _, action = name.removeprefix("aws-sdk:").partition(":")
        if name == f"sagemaker:{action}" and action.endswith(".sync"):
            return self._job(action.removesuffix(".sync"), arguments, pause)
        if name.startswith("aws-sdk:"):
            return self._sdk(service, action, arguments)
        raise StateFailure("States.Runtime", f"localcloud does not integrate {resource}")

    def _invoke(self, arguments: dict[str, Any]) -> Any:
        payload = json.dumps(arguments.get("Payload", {})).encode()
        answer = self._sdk("lambda", "invoke", {"FunctionName": arguments["FunctionName"], "Payload": payload}, prefix="Lambda")
        body = answer["Payload"]
        if answer.get("FunctionError"):
            failure = body if isinstance(body, dict) else {}
            raise StateFailure(str(failure.get("errorType", "Lambda.Unknown")), json.dumps(body))
        return {"ExecutedVersion": answer["ExecutedVersion"], "Payload": body, "StatusCode": answer["StatusCode"]}

    def _job(self, action: str, arguments: dict[str, Any], pause: Pause) -> Any:
        if action not in JOBS:
            raise StateFailure("States.Runtime", f"localcloud does not wait for sagemaker:{action}")
        describe, stop, key, status = JOBS[action]
        self._sdk("sagemaker", action, arguments)
        client, name = self._clients("sagemaker"), {key: arguments[key]}
        while True:
            job = _plain(getattr(client, describe)(**name))
            if job[status] == "Completed":
                return job
            if job[status] in ("Failed", "Stopped"):
                raise StateFailure("States.TaskFailed", json.dumps(job))
            try:
                pause(POLL_S)
            except (StateFailure, Stopped):
                getattr(client, stop)(**name)
                raise

    def _sdk(self, service: str, action: str, arguments: dict[str, Any], prefix: str | None = None) -> Any:
        named = prefix or SDK_PREFIX.get(service, service.capitalize())
        operation = _operations(service).get(action.lower())
        if operation is None:
            raise StateFailure("States.Runtime", f"no operation {service}:{action}")
        model = _model(service).operation_model(operation)
        if faults := list(unknown(model.input_shape, arguments, "Arguments")):
            raise StateFailure("States.Runtime", f"{service}:{action} has no parameter {', '.join(faults)}")
        try:
            answer = getattr(self._clients(service), xform_name(operation))(**coerce(model.input_shape, arguments))
            return pascal(model.output_shape, _plain(answer))
        except ClientError as error:
            raise StateFailure(_error_name(service, named, error.response["Error"]["Code"]), error.response["Error"].get("Message", "")) from error
        except ParamValidationError as error:
            raise StateFailure("States.Runtime", f"{service}:{action}: {error}") from error


def _error_name(service: str, named: str, code: str) -> str:
    """`<Service>.<Error>Exception` for an error the service's model has, `<Service>.<Service>Exception` for any other."""
    modelled = {shape.name for shape in _model(service).error_shapes} | {shape.error_code for shape in _model(service).error_shapes}
    known = code if code in modelled or code.removesuffix("Exception") in modelled else named
    return f"{named}.{known if known.endswith('Exception') else f'{known}Exception'}"


@cache
def _model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


@cache
def _operations(service: str) -> dict[str, str]:
    """Lower-case operation name → its name."""
    return {name.lower(): name for name in _model(service).operation_names}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items() if name != "ResponseMetadata"}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if hasattr(value, "read"):
        text = value.read().decode()
        try:
            return json.loads(text)
        except ValueError:
            return text
    return value
