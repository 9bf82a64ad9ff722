"""The Glue job that prepares large uploads: its script and packages from S3, a role of its own, workers only while it runs."""

from typing import cast

from aws_cdk import Aws, Stack
from aws_cdk import aws_glue as glue
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_assets as assets
from constructs import Construct

from infra.bundle import LAYERS, ROOT, folder_of
from infra.settings import Stage, glue_stage

AT_ONCE = 10
"""Runs at a time: the Map that starts them has as many lanes, for all models together."""
TIMEOUT_MINUTES = 480


class GlueJob(Construct):
    """`arguments`: what every run is told. The state machine adds what differs."""

    def __init__(self, scope: Construct, name: str, *, stage: Stage, script: str, arguments: dict[str, str]) -> None:
        super().__init__(scope, name)
        self.role = iam.Role(self, "Role", assumed_by=cast("iam.IPrincipal", iam.ServicePrincipal("glue.amazonaws.com")))
        code = assets.Asset(self, "Script", path=str(ROOT / script))
        packages = [assets.Asset(self, layer.title(), path=str(folder_of(layer, glue_stage(stage)))) for layer in LAYERS]
        self.allow("s3:GetObject", on=[asset.bucket.arn_for_objects(asset.s3_object_key) for asset in (code, *packages)])
        logs = f"arn:{Aws.PARTITION}:logs:{Aws.REGION}:{Aws.ACCOUNT_ID}:log-group:/aws-glue/jobs/*"
        self.allow("logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", on=[logs])
        self.job = glue.CfnJob(
            self,
            "Job",
            role=self.role.role_arn,
            command=glue.CfnJob.JobCommandProperty(name="glueetl", python_version="3", script_location=code.s3_object_url),
            glue_version="6.0",
            worker_type="G.1X",
            number_of_workers=stage.glue_workers,
            timeout=TIMEOUT_MINUTES,
            max_retries=0,
            execution_property=glue.CfnJob.ExecutionPropertyProperty(max_concurrent_runs=AT_ONCE),
            default_arguments={"--packages": ",".join(asset.s3_object_url for asset in packages), **arguments},
        )

    @property
    def arn(self) -> str:
        return Stack.of(self).format_arn(service="glue", resource="job", resource_name=self.job.ref)

    def allow(self, *actions: str, on: list[str]) -> None:
        self.role.add_to_policy(iam.PolicyStatement(actions=list(actions), resources=on))
