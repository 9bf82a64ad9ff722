"""The model registry: groups, versioned packages, approval, and the event that each change sends."""

import threading
from datetime import UTC, datetime
from typing import Any

from localcloud import ACCOUNT, REGION
from localcloud.clock import Clock
from localcloud.errors import NotSupported, ServiceError
from localcloud.events.bus import EventBus
from localcloud.front import Handler

UPDATABLE = ("ModelApprovalStatus", "ApprovalDescription", "CustomerMetadataProperties", "ModelLifeCycle", "ModelCard", "InferenceSpecification")


class Registry:
    """Packages live in groups; their versions count up from 1."""

    def __init__(self, bus: EventBus, clock: Clock) -> None:
        self._bus = bus
        self._clock = clock
        self._groups: dict[str, dict[str, Any]] = {}
        self._packages: dict[str, dict[str, Any]] = {}
        self._tokens: dict[str, str] = {}
        self._lock = threading.Lock()

    def operations(self) -> dict[str, Handler]:
        return {
            "CreateModelPackage": self.create_package,
            "CreateModelPackageGroup": self.create_group,
            "DeleteModelPackage": self.delete_package,
            "DeleteModelPackageGroup": self.delete_group,
            "DescribeModelPackage": lambda p: self._package(p["ModelPackageName"]),
            "DescribeModelPackageGroup": lambda p: self._group(p["ModelPackageGroupName"]),
            "ListModelPackageGroups": lambda p: {"ModelPackageGroupSummaryList": list(self._groups.values())},
            "ListModelPackages": self.list_packages,
            "UpdateModelPackage": self.update_package,
        }

    def create_group(self, p: dict[str, Any]) -> dict[str, Any]:
        name = p["ModelPackageGroupName"]
        if name in self._groups:
            raise ServiceError("ValidationException", f"Model Package Group already exists: {_arn('model-package-group', name)}")
        arn = _arn("model-package-group", name)
        self._groups[name] = p | {"ModelPackageGroupArn": arn, "ModelPackageGroupStatus": "Completed", "CreationTime": self._moment()}
        return {"ModelPackageGroupArn": arn}

    def delete_group(self, p: dict[str, Any]) -> None:
        name = self._group(p["ModelPackageGroupName"])["ModelPackageGroupName"]
        if any(package["ModelPackageGroupName"] == name for package in self._packages.values()):
            raise ServiceError("ConflictException", f"Model Package Group {name} cannot be deleted: it still has model packages")
        del self._groups[name]

    def create_package(self, p: dict[str, Any]) -> dict[str, Any]:
        if "ModelPackageGroupName" not in p:
            raise NotSupported("model packages without a group")
        group = self._group(p["ModelPackageGroupName"].rpartition("/")[2])["ModelPackageGroupName"]
        token = p.get("ClientToken")
        with self._lock:
            if token in self._tokens:
                return {"ModelPackageArn": self._tokens[token]}
            version = 1 + max((k["ModelPackageVersion"] for k in self._packages.values() if k["ModelPackageGroupName"] == group), default=0)
            arn = _arn("model-package", f"{group}/{version}")
            now = self._moment()
            fields = {
                "ModelPackageGroupName": group,
                "ModelPackageVersion": version,
                "ModelPackageArn": arn,
                "ModelPackageName": f"{group}/{version}",
            }
            status = {"ModelPackageStatus": "Completed", "ModelPackageStatusDetails": {"ValidationStatuses": []}, "CreationTime": now}
            package = {"ModelApprovalStatus": "PendingManualApproval"} | {k: v for k, v in p.items() if k != "ClientToken"} | fields | status
            self._packages[arn] = package
            if token:
                self._tokens[token] = arn
        self._announce(package, [])
        return {"ModelPackageArn": arn}

    def update_package(self, p: dict[str, Any]) -> dict[str, Any]:
        package = self._package(p["ModelPackageArn"])
        changed = [name for name in UPDATABLE if name in p]
        unknown = set(p) - set(UPDATABLE) - {"ModelPackageArn", "ClientToken"}
        if unknown:
            raise NotSupported(f"UpdateModelPackage of {', '.join(sorted(unknown))}")
        package |= {name: p[name] for name in changed} | {"LastModifiedTime": self._moment()}
        self._announce(package, changed)
        return {"ModelPackageArn": package["ModelPackageArn"]}

    def delete_package(self, p: dict[str, Any]) -> None:
        del self._packages[self._package(p["ModelPackageName"])["ModelPackageArn"]]

    def list_packages(self, p: dict[str, Any]) -> dict[str, Any]:
        group, status = p.get("ModelPackageGroupName"), p.get("ModelApprovalStatus")
        found = [k for k in self._packages.values() if group in (None, k["ModelPackageGroupName"]) and status in (None, k["ModelApprovalStatus"])]
        return {"ModelPackageSummaryList": sorted(found, key=lambda k: k["CreationTime"], reverse=p.get("SortOrder") != "Ascending")}

    def _moment(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now(), UTC)

    def _announce(self, package: dict[str, Any], changed: list[str]) -> None:
        """Source: docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html"""
        names = ("ModelPackageGroupName", "ModelPackageName", "ModelPackageArn", "ModelPackageVersion", "ModelApprovalStatus", "ModelPackageStatus")
        detail = {name: package[name] for name in (*names, "CreationTime")} | {"UpdatedModelPackageFields": changed}
        self._bus.emit("aws.sagemaker", "SageMaker Model Package State Change", detail, [package["ModelPackageArn"]])

    def _group(self, name: str) -> dict[str, Any]:
        if name not in self._groups:
            raise ServiceError("ValidationException", f"ModelPackageGroup {name} does not exist.")
        return self._groups[name]

    def _package(self, arn: str) -> dict[str, Any]:
        if arn not in self._packages:
            raise ServiceError("ValidationException", f"ModelPackage {arn} does not exist.")
        return self._packages[arn]


def _arn(kind: str, name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:{kind}/{name}"
