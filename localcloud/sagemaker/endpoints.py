"""Models, endpoint configs and endpoints; InvokeEndpoint reaches the real server.

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
from localcloud.errors import NotSupported, ServiceError
from localcloud.events.bus import EventBus
from localcloud.front import Handler
from localcloud.processes import Processes
from localcloud.sagemaker.data import split_uri
from localcloud.sagemaker.roles import ANY_SOURCE, RoleDenied, Roles
from localcloud.sagemaker.variant import Place, Variant, VariantFailed, start_variant

log = logging.getLogger("localcloud")

SERVERLESS_BODY_BYTES = 4 * 1024 * 1024
REALTIME_BODY_BYTES = 25 * 1024 * 1024
NO_DATA = (
    'Could not access model data at {url}. Please ensure that the role "{role}" exists and that its trust relationship policy allows the action '
    '"sts:AssumeRole" for the service principal "sagemaker.amazonaws.com". Also ensure that the role has "s3:GetObject" permissions and that the '
    "object is located in {region}."
)
EVENT_STATUS = {
    "Creating": "CREATING", "InService": "IN_SERVICE", "Updating": "UPDATING", "RollingBack": "ROLLING_BACK", "Failed": "FAILED", "Deleting": "DELETING",
}  # fmt: skip


class ModelError(ServiceError):
    """The container answered with an error, or not at all: 424. Attributes as InvokeEndpoint's ModelError has them."""

    def __init__(self, status: int, body: str, stream: str) -> None:
        super().__init__("ModelError", f'Received client error ({status}) from primary with message "{body}". See {stream} for more information.')
        self.OriginalStatusCode = status
        self.OriginalMessage = body
        self.LogStreamArn = stream


@dataclass
class Endpoint:
    """An endpoint as Describe shows it, and its running variants."""

    described: dict[str, Any]
    variants: list[Variant] = field(default_factory=list)
    generation: int = 0
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
        self._models: dict[str, dict[str, Any]] = {}
        self._configs: dict[str, dict[str, Any]] = {}
        self._endpoints: dict[str, Endpoint] = {}

    def operations(self) -> dict[str, Handler]:
        return {
            "CreateModel": self._create_model,
            "DeleteModel": lambda p: _delete(self._models, "Model", p),
            "DescribeModel": lambda p: _get(self._models, "Model", p),
            "ListModels": lambda p: {"Models": list(self._models.values())},
            "CreateEndpointConfig": self._create_config,
            "DeleteEndpointConfig": lambda p: _delete(self._configs, "EndpointConfig", p),
            "DescribeEndpointConfig": lambda p: _get(self._configs, "EndpointConfig", p),
            "ListEndpointConfigs": lambda p: {"EndpointConfigs": list(self._configs.values())},
            "CreateEndpoint": self.create,
            "UpdateEndpoint": self.update,
            "DeleteEndpoint": self.delete,
            "DescribeEndpoint": lambda p: self._endpoint(p["EndpointName"]).described,
            "ListEndpoints": self._list,
        }

    def _create_model(self, p: dict[str, Any]) -> dict[str, Any]:
        if "PrimaryContainer" not in p and len(p.get("Containers", [])) != 1:
            raise NotSupported("models of several containers")
        container = p.get("PrimaryContainer") or p["Containers"][0]
        if "Image" not in container:
            raise NotSupported("a container without an Image")
        self._check_data(p["ExecutionRoleArn"], container.get("ModelDataUrl"))
        return _create(self._models, "Model", "model", p)

    def _check_data(self, role: str, url: str | None) -> None:
        """SageMaker looks for the model's data, with the role, before it makes the model."""
        clients = self._roles.assume(role, ANY_SOURCE)
        if url is None:
            return
        bucket, key = split_uri(url)
        try:
            clients("s3").head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            raise ServiceError("ValidationException", NO_DATA.format(url=url, role=role, region=REGION)) from error

    def _create_config(self, p: dict[str, Any]) -> dict[str, Any]:
        for name in ("DataCaptureConfig", "AsyncInferenceConfig", "ShadowProductionVariants", "ExplainerConfig"):
            if name in p:
                raise NotSupported(f"{name} of an endpoint config")
        serverless = [v for v in p["ProductionVariants"] if "ServerlessConfig" in v]
        if serverless and len(p["ProductionVariants"]) > 1:
            raise ServiceError("ValidationException", "Serverless Inference supports exactly one production variant.")
        for variant in p["ProductionVariants"]:
            _get(self._models, "Model", variant)
        return _create(self._configs, "EndpointConfig", "endpoint-config", p)

    def create(self, p: dict[str, Any]) -> dict[str, Any]:
        name = p["EndpointName"]
        if name in self._endpoints:
            raise ServiceError("ValidationException", f'Cannot create already existing endpoint "{_arn("endpoint", name)}".')
        config = _get(self._configs, "EndpointConfig", p)
        now = self._moment()
        endpoint = Endpoint(p | {"EndpointArn": _arn("endpoint", name), "EndpointStatus": "Creating", "CreationTime": now, "LastModifiedTime": now})
        self._endpoints[name] = endpoint
        self._announce(endpoint)
        threading.Thread(target=self._bring_up, args=(endpoint, config), daemon=True, name=name).start()
        return {"EndpointArn": endpoint.described["EndpointArn"]}

    def update(self, p: dict[str, Any]) -> dict[str, Any]:
        if p.get("DeploymentConfig"):
            raise NotSupported("DeploymentConfig of UpdateEndpoint")
        endpoint = self._endpoint(p["EndpointName"])
        config = _get(self._configs, "EndpointConfig", p)
        if endpoint.described["EndpointStatus"] != "InService":
            raise ServiceError("ValidationException", f'Cannot update in-progress endpoint "{endpoint.described["EndpointArn"]}".')
        self._set(endpoint, "Updating")
        threading.Thread(target=self._bring_up, args=(endpoint, config), daemon=True).start()
        return {"EndpointArn": endpoint.described["EndpointArn"]}

    def delete(self, p: dict[str, Any]) -> None:
        name = p["EndpointName"]
        endpoint = self._endpoint(name, "Could not find endpoint")
        self._set(endpoint, "Deleting")
        del self._endpoints[name]
        with endpoint.lock:
            for variant in endpoint.variants:
                variant.stop()
            endpoint.variants = []

    def invoke(self, p: dict[str, Any]) -> dict[str, Any]:
        name, body = p["EndpointName"], p.get("Body") or b""
        endpoint = self._endpoints.get(name)
        if endpoint is None or not endpoint.variants:
            raise ServiceError("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        serverless = any("ServerlessConfig" in v for v in self._configs[endpoint.described["EndpointConfigName"]]["ProductionVariants"])
        limit = SERVERLESS_BODY_BYTES if serverless else REALTIME_BODY_BYTES
        if len(body) > limit:
            raise ServiceError("ValidationError", f"Request body has {len(body)} bytes; the limit of this endpoint is {limit}.")
        variant = self._choose(endpoint, p.get("TargetVariant"))
        headers = {"Content-Type": p.get("ContentType", "application/octet-stream"), "Accept": p.get("Accept", "*/*")}
        if "CustomAttributes" in p:
            headers["X-Amzn-SageMaker-Custom-Attributes"] = p["CustomAttributes"]
        if not variant.enter():
            raise ServiceError("ThrottlingException", "")
        started = time.monotonic()
        stream = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:/aws/sagemaker/Endpoints/{name}"
        try:
            status, data, answered = variant.invoke(body, headers)
        except urllib3.exceptions.HTTPError as error:
            status, data, answered = 500, str(error).encode(), {}
        finally:
            variant.leave()
        self._measure(name, variant.name, status, (time.monotonic() - started) * 1e6)
        if status != 200:
            raise ModelError(status, data.decode(errors="replace"), stream)
        lower = {key.lower(): value for key, value in answered.items()}
        result = {"Body": data, "ContentType": lower.get("content-type", ""), "InvokedProductionVariant": variant.name}
        custom = lower.get("x-amzn-sagemaker-custom-attributes")
        return result | ({"CustomAttributes": custom} if custom else {})

    def _bring_up(self, endpoint: Endpoint, config: dict[str, Any]) -> None:
        """Start every variant of a config; switch to them when all are healthy."""
        endpoint.generation += 1
        started: list[Variant] = []
        try:
            for variant in config["ProductionVariants"]:
                started.append(self._start(endpoint, variant))
        except Exception as error:
            if not isinstance(error, VariantFailed | ConfigError | RoleDenied | ServiceError):
                log.exception("endpoint %s", endpoint.described["EndpointName"])
            for variant in started:
                variant.stop()
            endpoint.described["FailureReason"] = str(error)
            if endpoint.variants:
                self._set(endpoint, "RollingBack")
            self._set(endpoint, "InService" if endpoint.variants else "Failed")
            return
        with endpoint.lock:
            old, endpoint.variants = endpoint.variants, started
        endpoint.described.pop("FailureReason", None)
        endpoint.described |= {"EndpointConfigName": config["EndpointConfigName"], "ProductionVariants": [{"VariantName": v.name} for v in started]}
        self._set(endpoint, "InService")
        for variant in old:
            variant.stop()

    def _start(self, endpoint: Endpoint, variant: dict[str, Any]) -> Variant:
        model = _get(self._models, "Model", variant)
        container, role = model.get("PrimaryContainer") or model["Containers"][0], model["ExecutionRoleArn"]
        name = endpoint.described["EndpointName"]
        self._roles.check_pull(role, container["Image"])
        write = self._roles.log(role, f"/aws/sagemaker/Endpoints/{name}", f"{variant['VariantName']}/{endpoint.generation}")
        folder = self._folder / f"endpoint-{name}-{variant['VariantName']}-{endpoint.generation}"
        place = Place(
            folder, self._roles.assume(role, ANY_SOURCE), {} if model.get("EnableNetworkIsolation") else self._roles.environment(role, ANY_SOURCE)
        )
        return start_variant(variant, container, place, write, self._config, self._processes, self._clock)

    def _choose(self, endpoint: Endpoint, wanted: str | None) -> Variant:
        variants = list(endpoint.variants)
        if wanted is None:
            return self._random.choices(variants, [variant.weight for variant in variants])[0]
        for variant in variants:
            if variant.name == wanted:
                return variant
        raise ServiceError("ValidationError", f"Variant {wanted} not found for Request.")

    def _set(self, endpoint: Endpoint, status: str) -> None:
        endpoint.described |= {"EndpointStatus": status, "LastModifiedTime": self._moment()}
        self._announce(endpoint)

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    def _announce(self, endpoint: Endpoint) -> None:
        detail = endpoint.described | {"EndpointStatus": EVENT_STATUS[endpoint.described["EndpointStatus"]]}
        self._bus.emit("aws.sagemaker", "SageMaker Endpoint State Change", detail, [detail["EndpointArn"]])

    def _measure(self, endpoint: str, variant: str, status: int, latency_us: float) -> None:
        values = (
            ("Invocations", 1.0, "Count"),
            ("Invocation4XXErrors", float(400 <= status < 500), "Count"),
            ("Invocation5XXErrors", float(status >= 500), "Count"),
            ("ModelLatency", latency_us, "Microseconds"),
        )
        self._meter("AWS/SageMaker", {"EndpointName": endpoint, "VariantName": variant}, values)

    def _list(self, p: dict[str, Any]) -> dict[str, Any]:
        return {"Endpoints": [e.described for name, e in self._endpoints.items() if p.get("NameContains", "") in name]}

    def _endpoint(self, name: str, missing: str = "Could not find endpoint") -> Endpoint:
        if name not in self._endpoints:
            raise ServiceError("ValidationException", f'{missing} "{_arn("endpoint", name)}".')
        return self._endpoints[name]


def _create(store: dict[str, dict[str, Any]], kind: str, path: str, p: dict[str, Any]) -> dict[str, Any]:
    name = p[f"{kind}Name"]
    if name in store:
        raise ServiceError("ValidationException", f'Cannot create already existing {path} "{_arn(path, name)}".')
    store[name] = p | {f"{kind}Arn": _arn(path, name), "CreationTime": datetime.now(UTC)}
    return {f"{kind}Arn": store[name][f"{kind}Arn"]}


def _get(store: dict[str, dict[str, Any]], kind: str, p: dict[str, Any]) -> dict[str, Any]:
    name = p[f"{kind}Name"]
    if name not in store:
        raise ServiceError("ValidationException", f'Could not find {kind} "{name}".')
    return store[name]


def _delete(store: dict[str, dict[str, Any]], kind: str, p: dict[str, Any]) -> None:
    _get(store, kind, p)
    del store[p[f"{kind}Name"]]


def _arn(kind: str, name: str) -> str:
    return (
        f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}".lower() if kind == "endpoint" else f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"
    )
