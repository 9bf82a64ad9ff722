"""What SageMaker does in a role's name: assume it, pull the image, write the log, publish metrics."""

import math
import re
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.clients import Clients
from localcloud.cloudwatch.meter import Meter
from localcloud.errors import ServiceError
from localcloud.iam.authorizer import AccessDenied, Authorizer
from localcloud.logs import LogWriter

SAGEMAKER = "sagemaker.amazonaws.com"
ANY_SOURCE = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:*"
"""The source that hosting assumes roles with: nothing narrower matches. docs: sagemaker/latest/dg/security-confused-deputy-prevention.html"""
PULL = ("BatchCheckLayerAvailability", "GetDownloadUrlForLayer", "BatchGetImage")
LOG = ("CreateLogGroup", "CreateLogStream", "DescribeLogStreams", "PutLogEvents")


class RoleDenied(Exception):
    """The role may not do what SageMaker needs; the message is a FailureReason."""


class Roles:
    def __init__(self, clients: Clients, authorizer: Authorizer, logs: LogWriter, meter: Meter) -> None:
        self._clients = clients
        self._authorizer = authorizer
        self._logs = logs
        self._meter = meter

    def assume(self, role: str, source: str) -> Clients:
        """Clients with the role. Raises ValidationException as the Create calls do."""
        try:
            return self._clients.acting(self._authorizer.acting(role, SAGEMAKER, source))
        except AccessDenied as error:
            raise ServiceError(
                "ValidationException",
                f"Could not assume role {role}. Please ensure that the role exists and allows principal '{SAGEMAKER}' to assume the role.",
            ) from error

    def environment(self, role: str, source: str) -> dict[str, str]:
        """The AWS_* variables of a container that runs with the role."""
        return self._clients.environment(self._authorizer.assume(role, SAGEMAKER, "SageMaker", source))

    def check_pull(self, role: str, image: str) -> None:
        """Raises RoleDenied when the role may not pull the image from ECR."""
        repository = image.partition("/")[2].partition("@")[0].partition(":")[0]
        arn = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/{repository}"
        wanted = [("ecr:GetAuthorizationToken", "*"), *((f"ecr:{action}", arn) for action in PULL)]
        denied = [action for action, resource in wanted if not self._authorizer.allows(role, action, resource)]
        if denied:
            raise RoleDenied(f"ClientError: Cannot pull image {image}: the role {role} lacks {', '.join(denied)}")

    def log(self, role: str, group: str, stream: str) -> Callable[[str], None]:
        """Takes log lines; without the permissions they are lost, as on AWS."""
        arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:log-stream:{stream}"
        if all([self._authorizer.allows(role, f"logs:{action}", arn) for action in LOG]):  # noqa: C419  # all are recorded
            return lambda line: self._logs.write(group, stream, line)
        return lambda line: None

    def publish(self, role: str, kind: str, job: str, values: dict[str, float]) -> None:
        """An algorithm's metrics, with the role's permission."""
        namespace = f"/aws/sagemaker/{kind}Jobs"
        if values and self._authorizer.allows(role, "cloudwatch:PutMetricData", "*", {"cloudwatch:namespace": (namespace,)}):
            self._meter(namespace, {f"{kind}JobName": job}, [(name, value, "None") for name, value in values.items()])


class MetricReader:
    """Reads an algorithm's metrics out of its log lines, by the regular expressions of MetricDefinitions; tells each value it finds.

    Source: docs.aws.amazon.com/sagemaker/latest/dg/define-train-metrics.html
    """

    def __init__(self, definitions: list[dict[str, Any]], tell: Callable[[str, float], None]) -> None:
        self._tell = tell
        self._definitions = [(definition["Name"], re.compile(definition["Regex"])) for definition in definitions]
        self.values: dict[str, float] = {}

    def read(self, line: str) -> None:
        for name, regex in self._definitions:
            for match in regex.finditer(line):
                with suppress(ValueError, IndexError):  # a match that is no number is no metric
                    value = float(match[1])
                    if math.isfinite(value):  # CloudWatch takes no other
                        self.values[name] = value
                        self._tell(name, value)
