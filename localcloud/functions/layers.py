"""Layers: versions of zipped folders that functions name by ARN."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.errors import ServiceError
from localcloud.front import Handler
from localcloud.functions.archive import Archive


class Layers:
    """All layer versions of the account. `unpack` brings an API's Content to disk."""

    def __init__(self, unpack: Callable[[dict[str, Any]], Archive]) -> None:
        self._unpack = unpack
        self._versions: dict[str, dict[str, Any]] = {}
        self._numbers: dict[str, int] = {}

    def operations(self) -> dict[str, Handler]:
        return {"DeleteLayerVersion": self.delete, "GetLayerVersion": self.get, "PublishLayerVersion": self.publish}

    def version(self, arn: str) -> dict[str, Any]:
        """Raises InvalidParameterValueException for one that is not there."""
        if arn not in self._versions:
            raise ServiceError("InvalidParameterValueException", f"Layer version {arn} does not exist.")
        return self._versions[arn]

    def publish(self, p: dict[str, Any]) -> dict[str, Any]:
        code = self._unpack(p["Content"])
        base = _layer_arn(p)
        number = self._numbers[base] = self._numbers.get(base, 0) + 1  # the number of a deleted version is not used again
        layer: dict[str, Any] = {
            "LayerArn": base, "LayerVersionArn": f"{base}:{number}", "Version": number, "CreatedDate": datetime.now(UTC).isoformat(),
            "Content": {"CodeSha256": code.sha256, "CodeSize": code.zipped_bytes}, "archive": code,
            **{k: p[k] for k in ("Description", "CompatibleRuntimes", "CompatibleArchitectures", "LicenseInfo") if k in p},
        }  # fmt: skip
        self._versions[layer["LayerVersionArn"]] = layer
        return layer

    def get(self, p: dict[str, Any]) -> dict[str, Any]:
        arn = f"{_layer_arn(p)}:{p['VersionNumber']}"
        if arn not in self._versions:
            raise ServiceError("ResourceNotFoundException", f"The resource you requested does not exist: {arn}")
        return self._versions[arn]

    def delete(self, p: dict[str, Any]) -> None:
        """Functions that use it keep it: docs.aws.amazon.com/lambda/latest/dg/deleting-layers.html"""
        self._versions.pop(f"{_layer_arn(p)}:{p['VersionNumber']}", None)


def _layer_arn(p: dict[str, Any]) -> str:
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{p['LayerName'].rpartition(':')[2]}"
