"""A bucket as every bucket here is: versioned, encrypted, TLS only, private; emptied with its stack in the local stage only."""

from aws_cdk import CustomResource, Duration
from aws_cdk import aws_s3 as s3
from constructs import Construct

from infra.constructs.function import Function
from infra.constructs.retention import removal
from infra.settings import Stage


class Bucket(Construct):
    """`emptier` is the local stage's function behind the custom resource that empties the bucket before its deletion.

    old_days: how long versions stay that were overwritten or deleted; expires: days after which objects below a prefix go.
    """

    def __init__(
        self, scope: Construct, name: str, *, stage: Stage, emptier: Function | None, old_days: int, expires: dict[str, int] | None = None
    ) -> None:
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
                s3.LifecycleRule(
                    id="tidy",
                    abort_incomplete_multipart_upload_after=Duration.days(stage.retention.multipart_days),
                    noncurrent_version_expiration=Duration.days(old_days),
                ),
                *(
                    s3.LifecycleRule(
                        id=f"expire-{prefix.strip('/')}",
                        prefix=prefix,
                        expiration=Duration.days(days),
                        noncurrent_version_expiration=Duration.days(1),
                    )
                    for prefix, days in (expires or {}).items()
                ),
            ],
        )
        if emptier is not None:
            emptier.allow("s3:ListBucket", "s3:ListBucketVersions", on=[self.bucket.bucket_arn])
            emptier.allow("s3:DeleteObject", "s3:DeleteObjectVersion", on=[self.bucket.arn_for_objects("*")])
            CustomResource(
                self, "Empty", service_token=emptier.function.function_arn, resource_type="Custom::EmptyBucket",
                properties={"Bucket": self.bucket.bucket_name},
            )  # fmt: skip
