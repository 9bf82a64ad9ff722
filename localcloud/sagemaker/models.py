"""Models and endpoint configs: what an endpoint is made from. CreateModel looks for the model's data, as on AWS."""

from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from localcloud import ACCOUNT, REGION
from localcloud.clock import Clock
from localcloud.constraints import accept
from localcloud.errors import NotSupported, ServiceError
from localcloud.front import Handler
from localcloud.sagemaker.accepted import ENDPOINT_CONFIG, MODEL
from localcloud.sagemaker.data import split_uri
from localcloud.sagemaker.listing import page
from localcloud.sagemaker.roles import ANY_SOURCE, Roles

NO_DATA = (
    'Could not access model data at {url}. Please ensure that the role "{role}" exists and that its trust relationship policy allows the action '
    '"sts:AssumeRole" for the service principal "sagemaker.amazonaws.com". Also ensure that the role has "s3:GetObject" permissions and that the '
    "object is located in {region}. If your Model uses multiple models or uncompressed models, please ensure that the role has "
    '"s3:ListBucket" permission.'
)
MEMORY_MB = range(1024, 6145, 1024)
"""docs.aws.amazon.com/sagemaker/latest/APIReference/API_ProductionVariantServerlessConfig.html"""


class Models:
    def __init__(self, roles: Roles, clock: Clock) -> None:
        self._roles = roles
        self._clock = clock
        self._models: dict[str, dict[str, Any]] = {}
        self._configs: dict[str, dict[str, Any]] = {}

    def operations(self) -> dict[str, Handler]:
        return {
            "CreateModel": self._create_model,
            "DeleteModel": lambda p: self._models.pop(self.model(p["ModelName"])["ModelName"]) and None,
            "DescribeModel": lambda p: self.model(p["ModelName"]),
            "ListModels": lambda p: page("ListModels", p, list(self._models.values()), "Models", "ModelName"),
            "CreateEndpointConfig": self._create_config,
            "DeleteEndpointConfig": lambda p: self._configs.pop(self.config(p["EndpointConfigName"])["EndpointConfigName"]) and None,
            "DescribeEndpointConfig": lambda p: self.config(p["EndpointConfigName"]),
            "ListEndpointConfigs": lambda p: page("ListEndpointConfigs", p, list(self._configs.values()), "EndpointConfigs", "EndpointConfigName"),
        }

    def model(self, name: str) -> dict[str, Any]:
        """Raises ValidationException for one that does not exist."""
        if name not in self._models:
            raise ServiceError("ValidationException", f'Could not find model "{_arn("model", name)}".')
        return self._models[name]

    def config(self, name: str) -> dict[str, Any]:
        """Raises ValidationException for one that does not exist."""
        if name not in self._configs:
            raise ServiceError("ValidationException", f'Could not find endpoint configuration "{_arn("endpoint-config", name)}".')
        return self._configs[name]

    def _create_model(self, p: dict[str, Any]) -> dict[str, Any]:
        accept("CreateModel", p, MODEL)
        if "PrimaryContainer" not in p and len(p.get("Containers", [])) != 1:
            raise NotSupported("models of several containers")
        if "ExecutionRoleArn" not in p or "Image" not in container(p):
            raise NotSupported("CreateModel without ExecutionRoleArn or Image")
        name = p["ModelName"]
        if name in self._models:
            raise ServiceError("ValidationException", f'Cannot create already existing model "{_arn("model", name)}".')
        self._check_data(p["ExecutionRoleArn"], container(p).get("ModelDataUrl"))
        self._models[name] = p | {"ModelArn": _arn("model", name), "CreationTime": self._moment()}
        return {"ModelArn": self._models[name]["ModelArn"]}

    def _check_data(self, role: str, url: str | None) -> None:
        clients = self._roles.assume(role, ANY_SOURCE)
        if url is None:
            return
        bucket, key = split_uri(url)
        try:
            clients("s3").head_object(Bucket=bucket, Key=key)
        except ClientError as error:
            raise ServiceError("ValidationException", NO_DATA.format(url=url, role=role, region=REGION)) from error

    def _create_config(self, p: dict[str, Any]) -> dict[str, Any]:
        accept("CreateEndpointConfig", p, ENDPOINT_CONFIG)
        name, variants = p["EndpointConfigName"], p["ProductionVariants"]
        if any("ServerlessConfig" in v for v in variants) and len(variants) > 1:
            raise ServiceError("ValidationException", "Serverless Inference supports exactly one production variant.")
        for variant in variants:
            if "ModelName" not in variant:
                raise NotSupported("ProductionVariants without ModelName (inference components)")
            self.model(variant["ModelName"])
            if variant.get("ServerlessConfig", {"MemorySizeInMB": 1024})["MemorySizeInMB"] not in MEMORY_MB:
                raise ServiceError("ValidationException", f"MemorySizeInMB must be one of {', '.join(map(str, MEMORY_MB))}.")
        if name in self._configs:
            raise ServiceError("ValidationException", f'Cannot create already existing endpoint configuration "{_arn("endpoint-config", name)}".')
        self._configs[name] = p | {"EndpointConfigArn": _arn("endpoint-config", name), "CreationTime": self._moment()}
        return {"EndpointConfigArn": self._configs[name]["EndpointConfigArn"]}

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)


def container(model: dict[str, Any]) -> dict[str, Any]:
    """The one container of a model."""
    found: dict[str, Any] = model.get("PrimaryContainer") or model["Containers"][0]
    return found


def _arn(kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"
