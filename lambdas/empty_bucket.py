"""Custom resource of the local stage: empties a bucket before CloudFormation deletes it."""

from typing import Any

import boto3
from custom_resource import answered


def handler(event: dict[str, Any], _: Any) -> None:
    answered(event, empty if event["RequestType"] == "Delete" else lambda properties: None, named_by="Bucket")


def empty(properties: dict[str, Any]) -> None:
    """Remove every version of every object."""
    s3 = boto3.client("s3")
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=properties["Bucket"]):
        found = [{"Key": v["Key"], "VersionId": v["VersionId"]} for v in (*page.get("Versions", []), *page.get("DeleteMarkers", []))]
        if found:
            s3.delete_objects(Bucket=properties["Bucket"], Delete={"Objects": found, "Quiet": True})
