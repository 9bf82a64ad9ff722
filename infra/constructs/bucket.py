"""A bucket as every bucket here is: versioned, encrypted, TLS only, private; emptied with its stack in the local stage only."""

from aws_cdk import CustomResource, Duration
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.constructs.function import Function
from infra.constructs.retention import removal
from infra.settings import Stage


class Bucket(Construct):
    """`emptier` is the local stage's function behind the custom resource that empties the bucket before its deletion."""

    def __init__(self, scope: Construct, name: str, *, stage: Stage, emptier: Function | None) -> None:
        super().__init__(scope, name)
        self.bucket = s3.Bucket(
            self,
            "Bucket",
            versioned=True,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            removal_policy=removal(stage),
            lifecycle_rules=[
                s3.LifecycleRule(id="tidy", abort_incomplete_multipart_upload_after=Duration.days(7), noncurrent_version_expiration=Duration.days(90))
            ],
        )
        if emptier is not None:
            emptier.allow("s3:ListBucket", "s3:ListBucketVersions", on=[self.bucket.bucket_arn])
            emptier.allow("s3:DeleteObject", "s3:DeleteObjectVersion", on=[self.bucket.arn_for_objects("*")])
            CustomResource(
                self, "Empty", service_token=emptier.function.function_arn, resource_type="Custom::EmptyBucket",
                properties={"Bucket": self.bucket.bucket_name},
            )  # fmt: skip
