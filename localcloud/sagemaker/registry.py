"""The model registry: groups, versioned packages, approval, and the event that each change sends."""

import threading
from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.clock import Clock
from localcloud.constraints import accept
from localcloud.errors import NotSupported, ServiceError
from localcloud.events.bus import EventBus
from localcloud.front import Handler
from localcloud.sagemaker.accepted import PACKAGE, PACKAGE_GROUP, UPDATED_PACKAGE
from localcloud.sagemaker.listing import page

UPDATABLE = ("ModelApprovalStatus", "ApprovalDescription", "ModelLifeCycle", "ModelCard", "InferenceSpecification", "SourceUri")
MOST_PROPERTIES = 50
"""docs.aws.amazon.com/sagemaker/latest/APIReference/API_UpdateModelPackage.html"""


class Registry:
    """Packages live in groups; their versions count up from 1."""

    def __init__(self, bus: EventBus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._groups: dict[str, dict[str, Any]] = {}
        self._packages: dict[str, dict[str, Any]] = {}
        self._versions: dict[str, int] = {}
        self._tokens: dict[str, str] = {}
        self._lock = threading.Lock()

    def operations(self) -> dict[str, Handler]:
        return {
            "CreateModelPackage": self.create_package,
            "CreateModelPackageGroup": self.create_group,
            "DeleteModelPackage": self.delete_package,
            "DeleteModelPackageGroup": self.delete_group,
            "DescribeModelPackage": self.describe_package,
            "DescribeModelPackageGroup": lambda p: self._group(p["ModelPackageGroupName"]),
            "ListModelPackageGroups": lambda p: page(
                "ListModelPackageGroups", p, list(self._groups.values()), "ModelPackageGroupSummaryList", "ModelPackageGroupName"
            ),
            "ListModelPackages": self.list_packages,
            "UpdateModelPackage": self.update_package,
        }

    def create_group(self, p: dict[str, Any]) -> dict[str, Any]:
        accept("CreateModelPackageGroup", p, PACKAGE_GROUP)
        name = p["ModelPackageGroupName"]
        if name in self._groups:
            raise ServiceError("ValidationException", f"Model Package Group already exists: {_arn('model-package-group', name)}")
        arn = _arn("model-package-group", name)
        self._groups[name] = p | {"ModelPackageGroupArn": arn, "ModelPackageGroupStatus": "Completed", "CreationTime": self._moment()}
        self._versions[name] = 0
        return {"ModelPackageGroupArn": arn}

    def delete_group(self, p: dict[str, Any]) -> None:
        name = self._group(p["ModelPackageGroupName"])["ModelPackageGroupName"]
        if any(package["ModelPackageGroupName"] == name for package in self._packages.values()):
            raise ServiceError("ConflictException", f"Model Package Group {name} cannot be deleted: it still has model packages")
        del self._groups[name]

    def create_package(self, p: dict[str, Any]) -> dict[str, Any]:
        accept("CreateModelPackage", p, PACKAGE)
        if "ModelPackageGroupName" not in p:
            raise NotSupported("model packages without a group")
        if p.get("Tags"):
            told = "If you supply ModelPackageGroupName, your model package belongs to the model group and uses its tags: Tags cannot be supplied."
            raise ServiceError("ValidationException", told)
        group = self._group(p["ModelPackageGroupName"])["ModelPackageGroupName"]
        token = p.get("ClientToken")
        with self._lock:
            if token in self._tokens:
                return {"ModelPackageArn": self._tokens[token]}
            version = self._versions[group] = self._versions[group] + 1
            arn = _arn("model-package", f"{group}/{version}")
            fields = {
                "ModelPackageGroupName": group,
                "ModelPackageVersion": version,
                "ModelPackageArn": arn,
                "ModelPackageName": f"{group}/{version}",
            }
            status = {"ModelPackageStatus": "Completed", "ModelPackageStatusDetails": {"ValidationStatuses": []}, "CreationTime": self._moment()}
            package = {"ModelApprovalStatus": "PendingManualApproval"} | {k: v for k, v in p.items() if k != "ClientToken"} | fields | status
            self._packages[arn] = package
            if token:
                self._tokens[token] = arn
        self._announce(package, [])
        return {"ModelPackageArn": arn}

    def update_package(self, p: dict[str, Any]) -> dict[str, Any]:
        accept("UpdateModelPackage", p, UPDATED_PACKAGE)
        package = self._package(p["ModelPackageArn"])
        new = {name: p[name] for name in UPDATABLE if name in p}
        if "CustomerMetadataProperties" in p or "CustomerMetadataPropertiesToRemove" in p:
            new["CustomerMetadataProperties"] = _properties(package, p)
        package |= new | {"LastModifiedTime": self._moment()}
        self._announce(package, [name for name in (*UPDATABLE, "CustomerMetadataProperties") if name in new])
        return {"ModelPackageArn": package["ModelPackageArn"]}

    def describe_package(self, p: dict[str, Any]) -> dict[str, Any]:
        accept("DescribeModelPackage", p, {"ModelPackageName": None, "IncludedData": {"AllData"}})
        return self._package(p["ModelPackageName"])

    def delete_package(self, p: dict[str, Any]) -> None:
        del self._packages[self._package(p["ModelPackageName"])["ModelPackageArn"]]

    def list_packages(self, p: dict[str, Any]) -> dict[str, Any]:
        if p.get("ModelPackageType", "Versioned") == "Unversioned":
            raise NotSupported("ListModelPackages of ModelPackageType=Unversioned")
        rest = {k: v for k, v in p.items() if k != "ModelPackageType"}
        if "ModelPackageGroupName" in p:
            rest["ModelPackageGroupName"] = self._group(p["ModelPackageGroupName"])["ModelPackageGroupName"]
        filters = {"ModelPackageGroupName": "ModelPackageGroupName", "ModelApprovalStatus": "ModelApprovalStatus"}
        return page("ListModelPackages", rest, list(self._packages.values()), "ModelPackageSummaryList", "ModelPackageName", **filters)

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    def _announce(self, package: dict[str, Any], changed: list[str]) -> None:
        """Source: docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html"""
        detail = package | {"UpdatedModelPackageFields": changed}
        self._bus.emit("aws.sagemaker", "SageMaker Model Package State Change", detail, [package["ModelPackageArn"]])

    def _group(self, name: str) -> dict[str, Any]:
        """By name or ARN."""
        short = name.rpartition("/")[2]
        if short not in self._groups:
            raise ServiceError("ValidationException", f"ModelPackageGroup {name} does not exist.")
        return self._groups[short]

    def _package(self, arn: str) -> dict[str, Any]:
        if arn not in self._packages:
            raise ServiceError("ValidationException", f"ModelPackage {arn} does not exist.")
        return self._packages[arn]


def _properties(package: dict[str, Any], p: dict[str, Any]) -> dict[str, str]:
    """Named ones are added or replaced, and those to remove are gone."""
    gone = p.get("CustomerMetadataPropertiesToRemove", [])
    merged: dict[str, str] = {k: v for k, v in package.get("CustomerMetadataProperties", {}).items() if k not in gone} | p.get(
        "CustomerMetadataProperties", {}
    )
    if len(merged) > MOST_PROPERTIES:
        raise ServiceError("ValidationException", f"A model package has at most {MOST_PROPERTIES} customer metadata properties.")
    return merged


def _arn(kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"
