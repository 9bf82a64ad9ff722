"""Custom resource: a new content hash starts a build of the image. It does not wait; the first run does."""

from typing import Any

import boto3
from custom_resource import answered


def handler(event: dict[str, Any], _: Any) -> None:
    answered(event, start if event["RequestType"] != "Delete" else lambda properties: None)


def start(properties: dict[str, Any]) -> None:
    override = [{"name": "IMAGE_TAG", "value": properties["Tag"], "type": "PLAINTEXT"}]
    boto3.client("codebuild").start_build(projectName=properties["Project"], environmentVariablesOverride=override)
