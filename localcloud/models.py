"""botocore's descriptions of the services: one copy for boto3, moto and localcloud itself, without their prose.

Each of the three would load its own: SageMaker's alone takes 20 MB, most of it documentation. One seam of moto.
"""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import boto3
import botocore.session
from botocore.loaders import JSONFileLoader
from botocore.model import ServiceModel
from moto.core import utils as moto_utils
from moto.core.loaders import Loader, moto_root

from localcloud import REGION

PROSE = "documentation"


class _WithoutProse(JSONFileLoader):  # type: ignore[misc]  # botocore has no types
    def _load_file(self, full_path: str, open_method: Callable[[str, str], Any]) -> Any:
        try:
            with open_method(full_path, "rb") as file:
                return json.loads(file.read(), object_pairs_hook=_emptied)
        except FileNotFoundError:
            return None  # the same file may be there under its other ending


class _Loader(Loader):  # type: ignore[misc]  # as above
    BUILTIN_EXTRAS_TYPES = ["sdk", "moto"]  # noqa: RUF012  # botocore's attribute: what boto3 adds to the models, and what moto does


class _ForBoto3(_Loader):
    """boto3 takes the bucket out of the paths of S3's operations, in the model itself: there it has one of its own."""

    def load_service_model(self, service_name: str, type_name: str, api_version: str | None = None) -> Any:
        if service_name == "s3":
            return super().load_service_model(service_name, type_name, api_version)
        return _loader.load_service_model(service_name, type_name, api_version)


def _emptied(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: "" if name == PROSE and isinstance(value, str) else value for name, value in pairs}


_loader = _Loader(extra_search_paths=[moto_root], file_loader=_WithoutProse())
_for_boto3 = _ForBoto3(extra_search_paths=[moto_root], file_loader=_WithoutProse())


def install() -> None:
    """moto shares the copy from now on."""
    moto_utils.create_loader = lambda: _loader


def session() -> Any:
    """A boto3 session that shares it."""
    inner = botocore.session.get_session()
    inner.register_component("data_loader", _for_boto3)
    return boto3.Session(region_name=REGION, botocore_session=inner)


@cache
def service_model(service: str) -> Any:
    return ServiceModel(_loader.load_service_model(service, "service-2"), service)
