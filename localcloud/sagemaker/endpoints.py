"""Endpoints; InvokeEndpoint reaches the real server.

An update starts the new variants beside the old ones and switches when all are healthy; when one is not, the endpoint
goes back to its old config and stays in service.
"""

import logging
import random
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import urllib3
from botocore.exceptions import ClientError

from localcloud import ACCOUNT, REGION
from localcloud.clock import Clock
from localcloud.cloudwatch.meter import Meter
from localcloud.config import ConfigError, LocalConfig
from localcloud.constraints import accept
from localcloud.errors import ServiceError
from localcloud.events.bus import EventBus
from localcloud.front import Handler
from localcloud.processes import Processes
from localcloud.sagemaker.accepted import ENDPOINT, INVOCATION, UPDATED_ENDPOINT
from localcloud.sagemaker.listing import page
from localcloud.sagemaker.models import Models, container
from localcloud.sagemaker.roles import ANY_SOURCE, RoleDenied, Roles
from localcloud.sagemaker.variant import Place, Variant, VariantFailed, start_variant

log = logging.getLogger("localcloud")

SERVERLESS_BODY_BYTES = 4 * 1024 * 1024
REALTIME_BODY_BYTES = 25 * 1024 * 1024
TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for each container in Amazon "
    "CloudWatch, resolve the issue, and try again."
)
EVENT_STATUS = {
    "Creating": "CREATING", "InService": "IN_SERVICE", "Updating": "UPDATING", "RollingBack": "ROLLING_BACK", "Failed": "FAILED", "Deleting": "DELETING",
}  # fmt: skip
EXPECTED = (VariantFailed, ConfigError, RoleDenied, ServiceError, ClientError)
"""Reasons of an endpoint's failure that are not faults of localcloud."""


class ModelError(ServiceError):
    """The container answered with an error, or not at all: 424. Attributes as InvokeEndpoint's ModelError has them."""

    def __init__(self, status: int, body: str, endpoint: str) -> None:
        group = f"/aws/sagemaker/Endpoints/{endpoint}"
        where = f"https://{REGION}.console.aws.amazon.com/cloudwatch/home?region={REGION}#logEventViewer:group={group} in account {ACCOUNT}"
        side = "client" if 400 <= status < 500 else "server"
        super().__init__("ModelError", f'Received {side} error ({status}) from primary with message "{body}". See {where} for more information.')
        self.OriginalStatusCode = status
        self.OriginalMessage = body
        self.LogStreamArn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"


@dataclass
class Endpoint:
    """An endpoint as Describe shows it, and its running variants."""

    described: dict[str, Any]
    variants: list[Variant] = field(default_factory=list)
    generation: int = 0
    deleted: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


class Endpoints:
    """Hosting."""

    def __init__(self, folder: Path, config: LocalConfig, roles: Roles, bus: EventBus, meter: Meter, processes: Processes, clock: Clock) -> None:
        self._folder = folder
        self._config = config
        self._roles = roles
        self._bus = bus
        self._meter = meter
        self._processes = processes
        self._clock = clock
        self._random = random.Random(13)  # noqa: S311  # traffic weights, nothing secret
        self._models = Models(roles, clock)
        self._endpoints: dict[str, Endpoint] = {}

    def operations(self) -> dict[str, Handler]:
        return self._models.operations() | {
            "CreateEndpoint": self.create,
            "UpdateEndpoint": self.update,
            "DeleteEndpoint": self.delete,
            "DescribeEndpoint": lambda p: self._endpoint(p["EndpointName"]).described,
            "ListEndpoints": self._list,
        }

    def create(self, p: dict[str, Any]) -> dict[str, Any]:
        accept("CreateEndpoint", p, ENDPOINT)
        name = p["EndpointName"]
        if name in self._endpoints:
            raise ServiceError("ValidationException", f'Cannot create already existing endpoint "{_arn(name)}".')
        config = self._models.config(p["EndpointConfigName"])
        now = self._moment()
        endpoint = Endpoint(p | {"EndpointArn": _arn(name), "EndpointStatus": "Creating", "CreationTime": now, "LastModifiedTime": now})
        self._endpoints[name] = endpoint
        self._announce(endpoint)
        threading.Thread(target=self._bring_up, args=(endpoint, config), daemon=True, name=name).start()
        return {"EndpointArn": endpoint.described["EndpointArn"]}

    def update(self, p: dict[str, Any]) -> dict[str, Any]:
        accept("UpdateEndpoint", p, UPDATED_ENDPOINT)
        endpoint = self._endpoint(p["EndpointName"])
        config = self._models.config(p["EndpointConfigName"])
        with endpoint.lock:
            if endpoint.described["EndpointStatus"] != "InService":
                raise ServiceError("ValidationException", f'Cannot update in-progress endpoint "{endpoint.described["EndpointArn"]}".')
            self._set(endpoint, "Updating")
        threading.Thread(target=self._bring_up, args=(endpoint, config), daemon=True).start()
        return {"EndpointArn": endpoint.described["EndpointArn"]}

    def delete(self, p: dict[str, Any]) -> None:
        endpoint = self._endpoint(p["EndpointName"])
        with endpoint.lock:
            endpoint.deleted = True
            self._set(endpoint, "Deleting")
            self._endpoints.pop(p["EndpointName"], None)
            variants, endpoint.variants = endpoint.variants, []
        for variant in variants:
            variant.stop()

    def invoke(self, p: dict[str, Any]) -> dict[str, Any]:
        accept("InvokeEndpoint", p, INVOCATION)
        name, body = p["EndpointName"], p.get("Body") or b""
        endpoint = self._endpoints.get(name)
        if endpoint is None or not endpoint.variants:
            raise ServiceError("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        limit = SERVERLESS_BODY_BYTES if any(variant.serverless for variant in endpoint.variants) else REALTIME_BODY_BYTES
        if len(body) > limit:
            raise ServiceError("ValidationError", f"Request body has {len(body)} bytes; the limit of this endpoint is {limit}.")
        variant = self._enter(endpoint, p.get("TargetVariant"))
        headers = {"Content-Type": p.get("ContentType", "application/octet-stream"), "Accept": p.get("Accept", "*/*")}
        if "CustomAttributes" in p:
            headers["X-Amzn-SageMaker-Custom-Attributes"] = p["CustomAttributes"]
        started = time.monotonic()
        try:
            status, data, answered = variant.invoke(body, headers)
        except urllib3.exceptions.TimeoutError:
            status, data, answered = 0, TIMED_OUT.encode(), {}
        except urllib3.exceptions.HTTPError as error:
            status, data, answered = 500, str(error).encode(), {}
        finally:
            variant.leave()
        self._measure(name, variant.name, status, (time.monotonic() - started) * 1e6)
        if not 200 <= status < 300:
            raise ModelError(status, data.decode(errors="replace"), name)
        lower = {key.lower(): value for key, value in answered.items()}
        result = {"Body": data, "ContentType": lower.get("content-type", ""), "InvokedProductionVariant": variant.name}
        custom = lower.get("x-amzn-sagemaker-custom-attributes")
        return result | ({"CustomAttributes": custom} if custom else {})

    def _enter(self, endpoint: Endpoint, wanted: str | None) -> Variant:
        """A variant with a place for one more request; one that was replaced meanwhile is not asked."""
        while True:
            variant = self._choose(endpoint, wanted)
            place = variant.enter()
            if place == "in":
                return variant
            if place == "full":
                raise ServiceError("ThrottlingException", "")

    def _choose(self, endpoint: Endpoint, wanted: str | None) -> Variant:
        variants = list(endpoint.variants)
        if not variants:
            raise ServiceError("ValidationError", f"Endpoint {endpoint.described['EndpointName']} of account {ACCOUNT} not found.")
        if wanted is None:
            return self._random.choices(variants, [variant.weight for variant in variants])[0]
        for variant in variants:
            if variant.name == wanted:
                return variant
        raise ServiceError("ValidationError", f"Variant {wanted} not found for Request.")

    def _bring_up(self, endpoint: Endpoint, config: dict[str, Any]) -> None:
        """Start every variant of a config; switch to them when all are healthy."""
        endpoint.generation += 1
        started: list[Variant] = []
        try:
            for variant in config["ProductionVariants"]:
                started.append(self._start(endpoint, variant))
        except Exception as error:
            if not isinstance(error, EXPECTED):
                log.exception("endpoint %s", endpoint.described["EndpointName"])
            for variant in started:
                variant.stop()
            self._fall_back(endpoint, str(error))
        else:
            self._switch(endpoint, config, started)

    def _fall_back(self, endpoint: Endpoint, reason: str) -> None:
        with endpoint.lock:
            if endpoint.deleted:
                return
            endpoint.described["FailureReason"] = reason
            if endpoint.variants:
                self._set(endpoint, "RollingBack")
            self._set(endpoint, "InService" if endpoint.variants else "Failed")

    def _switch(self, endpoint: Endpoint, config: dict[str, Any], started: list[Variant]) -> None:
        with endpoint.lock:
            if endpoint.deleted:
                old = started
            else:
                old, endpoint.variants = endpoint.variants, started
                endpoint.described.pop("FailureReason", None)
                shown = [variant.described() for variant in started]
                endpoint.described |= {"EndpointConfigName": config["EndpointConfigName"], "ProductionVariants": shown}
                self._set(endpoint, "InService")
        for variant in old:
            variant.retire()

    def _start(self, endpoint: Endpoint, variant: dict[str, Any]) -> Variant:
        model = self._models.model(variant["ModelName"])
        box, role, name = container(model), model["ExecutionRoleArn"], endpoint.described["EndpointName"]
        self._roles.check_pull(role, box["Image"])
        write = self._roles.log(role, f"/aws/sagemaker/Endpoints/{name}", f"{variant['VariantName']}/{endpoint.generation}")
        folder = self._folder / f"endpoint-{name}-{variant['VariantName']}-{endpoint.generation}-{id(endpoint)}"
        variables = {} if model.get("EnableNetworkIsolation") else self._roles.environment(role, ANY_SOURCE)
        place = Place(folder, self._roles.assume(role, ANY_SOURCE), variables)
        return start_variant(variant, box, place, write, self._config, self._processes, self._clock)

    def _set(self, endpoint: Endpoint, status: str) -> None:
        endpoint.described |= {"EndpointStatus": status, "LastModifiedTime": self._moment()}
        self._announce(endpoint)

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    def _announce(self, endpoint: Endpoint) -> None:
        """Source: docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html"""
        tags = {tag["Key"]: tag["Value"] for tag in endpoint.described.get("Tags", [])}
        detail = endpoint.described | {"EndpointStatus": EVENT_STATUS[endpoint.described["EndpointStatus"]], "Tags": tags}
        self._bus.emit("aws.sagemaker", "SageMaker Endpoint State Change", detail, [detail["EndpointArn"]])

    def _measure(self, endpoint: str, variant: str, status: int, latency_us: float) -> None:
        """docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html#cloudwatch-metrics-endpoint-invocation"""
        values = (
            ("Invocations", 1.0, "Count"),
            ("Invocation4XXErrors", float(400 <= status < 500), "Count"),
            ("Invocation5XXErrors", float(status >= 500), "Count"),
            ("InvocationModelErrors", float(not 200 <= status < 300), "Count"),
            ("ModelLatency", latency_us, "Microseconds"),
        )
        self._meter("AWS/SageMaker", {"EndpointName": endpoint, "VariantName": variant}, values)

    def _list(self, p: dict[str, Any]) -> dict[str, Any]:
        found = [endpoint.described for endpoint in list(self._endpoints.values())]
        return page("ListEndpoints", p, found, "Endpoints", "EndpointName", StatusEquals="EndpointStatus")

    def _endpoint(self, name: str) -> Endpoint:
        if name not in self._endpoints:
            raise ServiceError("ValidationException", f'Could not find endpoint "{_arn(name)}".')
        return self._endpoints[name]


def _arn(name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:endpoint/{name}".lower()
