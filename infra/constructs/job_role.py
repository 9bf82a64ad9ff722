"""Roles that SageMaker assumes: one for training, one for evaluation, one for serving."""

from typing import cast

from aws_cdk import Stack
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_iam as iam
from constructs import Construct


class JobRole(Construct):
    """May pull our image and write its logs and metrics; everything else is allowed by the stack that makes it.

    `source`: the resource types of the ARNs on whose behalf SageMaker may assume it ("training-job/*"); inference allows
    only the whole account as source. docs.aws.amazon.com/sagemaker/latest/dg/security-confused-deputy-prevention.html
    """

    def __init__(self, scope: Construct, name: str, *, source: tuple[str, ...], repository: ecr.IRepository) -> None:
        super().__init__(scope, name)
        stack = Stack.of(self)
        principal = iam.ServicePrincipal(
            "sagemaker.amazonaws.com",
            conditions={
                "StringEquals": {"aws:SourceAccount": stack.account},
                "ArnLike": {"aws:SourceArn": [f"arn:{stack.partition}:sagemaker:{stack.region}:{stack.account}:{each}" for each in source]},
            },
        )
        self.role = iam.Role(self, "Role", assumed_by=cast("iam.IPrincipal", principal))
        repository.grant_pull(self.role)
        logs = f"arn:{stack.partition}:logs:{stack.region}:{stack.account}:log-group:/aws/sagemaker/*"
        self.allow("logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents", on=[logs])
        self.role.add_to_policy(
            iam.PolicyStatement(
                actions=["cloudwatch:PutMetricData"],
                resources=["*"],
                conditions={"StringLike": {"cloudwatch:namespace": ["AWS/SageMaker*", "/aws/sagemaker/*"]}},
            )
        )

    def allow(self, *actions: str, on: list[str]) -> None:
        self.role.add_to_policy(iam.PolicyStatement(actions=list(actions), resources=on))
