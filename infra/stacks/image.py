"""image: the container's repository, and a build in the account whose tag is the hash of what it is built from."""

from typing import cast

from aws_cdk import CfnOutput, CustomResource, Duration, Stack
from aws_cdk import aws_codebuild as codebuild
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3_assets as assets
from constructs import Construct

from infra.bundle import ROOT
from infra.constructs.function import Function
from infra.constructs.retention import removal, retention
from infra.settings import Stage

CONTEXT = ("tidemill", "training", "requirements/container.txt")
"""What the Dockerfile copies: the tag changes when any of it does."""


class ImageStack(Stack):
    """`tag` is the content hash; the first run waits until the repository has it."""

    def __init__(self, scope: Construct, name: str, *, stage: Stage) -> None:
        super().__init__(scope, name, description=f"Tidemill {stage.name}: container image")
        self.repository = ecr.Repository(
            self, "Repository", image_scan_on_push=True, image_tag_mutability=ecr.TagMutability.IMMUTABLE, removal_policy=removal(stage),
            empty_on_delete=not stage.keep_data,
        )  # fmt: skip
        source = assets.Asset(self, "Source", path=str(ROOT), exclude=["*", *(f"!{path}" for path in _kept()), "**/__pycache__", "**/*.pyc"])
        self.tag = source.asset_hash[:32]
        log_group = logs.LogGroup(self, "Logs", retention=retention(stage), removal_policy=removal(stage))
        project = codebuild.Project(
            self,
            "Build",
            source=codebuild.Source.s3(bucket=source.bucket, path=source.s3_object_key),
            environment=codebuild.BuildEnvironment(
                build_image=codebuild.LinuxBuildImage.STANDARD_7_0,
                compute_type=codebuild.ComputeType.SMALL,
                privileged=True,
            ),
            environment_variables={
                "IMAGE_REPOSITORY_URI": codebuild.BuildEnvironmentVariable(value=self.repository.repository_uri),
                "IMAGE_TAG": codebuild.BuildEnvironmentVariable(value=self.tag),
            },
            build_spec=codebuild.BuildSpec.from_object(_buildspec()),
            logging=codebuild.LoggingOptions(cloud_watch=codebuild.CloudWatchLoggingOptions(log_group=cast("logs.ILogGroup", log_group))),
            timeout=Duration.minutes(30),
        )
        self.repository.grant_pull_push(project)
        self.repository.grant(project, "ecr:DescribeImages")
        starter = Function(self, "start_build", stage=stage, layers=[], settings=None, environment={})
        starter.allow("codebuild:StartBuild", on=[project.project_arn])
        CustomResource(
            self, "Start", service_token=starter.function.function_arn, resource_type="Custom::StartBuild",
            properties={"Project": project.project_name, "Tag": self.tag},
        )  # fmt: skip
        CfnOutput(self, "ImageRepository", value=self.repository.repository_uri)
        CfnOutput(self, "ImageTag", value=self.tag)


def _kept() -> list[str]:
    """Glob patterns that let the context's files back in after `*`, parents included."""
    kept = []
    for path in CONTEXT:
        parts = path.split("/")
        kept += ["/".join(parts[: i + 1]) for i in range(len(parts))]
        kept += [f"{path}/**"] if "." not in parts[-1] else []
    return kept


def _buildspec() -> dict[str, object]:
    image = "$IMAGE_REPOSITORY_URI:$IMAGE_TAG"
    exists = 'aws ecr describe-images --repository-name "${IMAGE_REPOSITORY_URI#*/}" --image-ids imageTag="$IMAGE_TAG"'
    login = 'aws ecr get-login-password | docker login --username AWS --password-stdin "${IMAGE_REPOSITORY_URI%%/*}"'
    build = f"docker build --platform linux/amd64 -f training/Dockerfile -t {image} . && docker push {image}"
    return {"version": "0.2", "phases": {"build": {"commands": [f"if {exists}; then echo present; else {login} && {build}; fi"]}}}
