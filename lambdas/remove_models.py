"""Custom resource of the local stage: removes what runs and releases made, which no stack owns, before its stack goes.

`Endpoints`: a name; it, and what is named after it and a version, goes: endpoints, their configs and models. `Packages`: a package group.
"""

import re
from collections.abc import Iterator
from typing import Any

import boto3
from custom_resource import answered

KINDS = (("endpoint", "Endpoint"), ("endpoint_config", "EndpointConfig"), ("model", "Model"))
"""boto3's word and SageMaker's, in the order they can go."""


def handler(event: dict[str, Any], _: Any) -> None:
    answered(event, remove if event["RequestType"] == "Delete" else lambda properties: None)


def remove(properties: dict[str, Any]) -> None:
    sagemaker = boto3.client("sagemaker")
    if "Endpoints" in properties:
        for word, name in KINDS:
            for found in list(named_after(sagemaker, f"list_{word}s", name, properties["Endpoints"])):
                getattr(sagemaker, f"delete_{word}")(**{f"{name}Name": found})
    if "Packages" in properties:
        pages = sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=properties["Packages"])
        for arn in [package["ModelPackageArn"] for page in pages for package in page["ModelPackageSummaryList"]]:
            sagemaker.delete_model_package(ModelPackageName=arn)


def named_after(sagemaker: Any, operation: str, kind: str, name: str) -> Iterator[str]:
    """Names that are `name`, or go on with a hyphen and a version number: another model's name may begin with this one's."""
    for page in sagemaker.get_paginator(operation).paginate(NameContains=name):
        for item in page[f"{kind}s"]:
            if re.fullmatch(rf"{re.escape(name)}(-\d.*)?", item[f"{kind}Name"]):
                yield item[f"{kind}Name"]
