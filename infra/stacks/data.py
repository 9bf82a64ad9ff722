"""data: the landing bucket others write to, the lake only we write to, the ledger, and the topic people subscribe to."""

from typing import cast

from aws_cdk import CfnOutput, Duration, Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.constructs.bucket import Bucket
from infra.constructs.function import Function
from infra.constructs.retention import removal
from infra.settings import Stage
from tidemill import keys


class DataStack(Stack):
    """What outlives every other stack."""

    def __init__(self, scope: Construct, name: str, *, stage: Stage) -> None:
        super().__init__(scope, name, description=f"Tidemill {stage.name}: buckets, ledger, alerts")
        emptier = None
        if not stage.keep_data:
            emptier = Function(self, "empty_bucket", stage=stage, layers=[], settings=None, environment={}, timeout=Duration.minutes(15))
        landing = Bucket(self, "Landing", stage=stage, emptier=emptier, old_days=stage.retention.landing_old_days)
        notify = cast("s3.CfnBucket", landing.bucket.node.default_child)
        # The L2's event_bridge_enabled adds a custom resource, a function and a role; the property needs none of them.
        notify.add_property_override("NotificationConfiguration.EventBridgeConfiguration.EventBridgeEnabled", True)
        self.landing: s3.IBucket = cast("s3.IBucket", landing.bucket)
        results = {keys.QUERY_RESULTS: stage.retention.query_results_days}
        lake = Bucket(self, "Lake", stage=stage, emptier=emptier, old_days=stage.retention.lake_old_days, expires=results)
        self.lake: s3.IBucket = cast("s3.IBucket", lake.bucket)
        self.ledger = dynamodb.Table(
            self,
            "Ledger",
            partition_key=dynamodb.Attribute(name="model", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="item", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(point_in_time_recovery_enabled=True),
            removal_policy=removal(stage),
        )
        self.topic = sns.Topic(self, "Alerts", display_name=f"Tidemill {stage.name}", enforce_ssl=True)
        # A policy of its own (enforce_ssl makes one) replaces the default that lets CloudWatch publish.
        self.topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[cast("iam.IPrincipal", iam.ServicePrincipal("cloudwatch.amazonaws.com"))],
                actions=["sns:Publish"],
                resources=[self.topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        if stage.email:
            self.topic.add_subscription(cast("sns.ITopicSubscription", subscriptions.EmailSubscription(stage.email)))
        for key, value in {
            "LandingBucket": self.landing.bucket_name,
            "LakeBucket": self.lake.bucket_name,
            "LedgerTable": self.ledger.table_name,
            "AlertsTopic": self.topic.topic_arn,
        }.items():
            CfnOutput(self, key, value=value)
