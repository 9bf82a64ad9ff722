"""A deployed stage, found by the outputs of its stacks: what the command line and the notebooks work on."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Self

import boto3

from tidemill.adapters.errors import translated
from tidemill.errors import RecordMissing

STACKS = ("data", "training", "serving", "catalog")


@dataclass(frozen=True)
class Deployment:
    """The stage's name and every output of its stacks, by output key."""

    stage: str
    outputs: Mapping[str, str]

    def __getitem__(self, output: str) -> str:
        """One output. Raises RecordMissing when the stage was deployed without it."""
        if output not in self.outputs:
            raise RecordMissing(f"stage '{self.stage}' has no output {output}: deploy it again with this version")
        return self.outputs[output]

    @classmethod
    def of(cls, stage: str, client: Any = None) -> Self:
        """Read the stacks of a stage. Raises RecordMissing when there is none in this account and region."""
        found = dict(_outputs(stage, client or boto3.client("cloudformation")))
        if not found:
            raise RecordMissing(f"no stack of stage '{stage}' in this account and region: check AWS_PROFILE and the region, or deploy it")
        return cls(stage, found)


def _outputs(stage: str, client: Any) -> Iterator[tuple[str, str]]:
    names = {f"tidemill-{stage}-{stack}" for stack in STACKS}
    with translated(f"stacks of stage '{stage}'"):
        for page in client.get_paginator("describe_stacks").paginate():
            for stack in page["Stacks"]:
                if stack["StackName"] in names:
                    yield from ((output["OutputKey"], output["OutputValue"]) for output in stack.get("Outputs", []))


def caller() -> str:
    """The ARN of whoever runs this, for the decision log."""
    with translated("who calls"):
        return str(boto3.client("sts").get_caller_identity()["Arn"])
