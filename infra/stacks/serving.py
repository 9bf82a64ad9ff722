"""serving: from an approved package to the live endpoint, and the alarms that can take it back."""

from typing import cast

from aws_cdk import Aws, CfnOutput, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.constructs.alarm import alarm
from infra.constructs.function import Function
from infra.constructs.job_role import JobRole
from infra.constructs.layers import Layers
from infra.constructs.machine import Machine, executions_of
from infra.constructs.queue import Queue
from infra.constructs.remover import Remover
from infra.models import Model
from infra.settings import Stage
from infra.stacks.data import DataStack
from infra.stacks.image import ImageStack
from tidemill import environment as env
from tidemill import keys

VARIANT = "primary"
APPROVED = {"ModelApprovalStatus": ["Approved"], "UpdatedModelPackageFields": ["ModelApprovalStatus"]}
"""Both: editing the metadata of an approved package must not release it again."""


class ServingStack(Stack):
    """The release machine; it alone changes endpoints."""

    def __init__(self, scope: Construct, name: str, *, stage: Stage, models: tuple[Model, ...], data: DataStack, image: ImageStack) -> None:
        super().__init__(scope, name, description=f"Tidemill {stage.name}: release and endpoints")
        self._stage, self._data, self._image = stage, data, image
        self._layers = Layers(self, stage=stage)
        alarms = {model.spec.name: self._endpoint_alarms(model) for model in models}
        steps = self._steps()
        self.machine = self._machine(steps, alarms)
        # A policy of its own: the machine invokes this function, so the machine cannot come before the function's own policy.
        iam.Policy(
            self, "ClaimAsksExecutions", roles=[cast("iam.IRole", steps["ReleaseClaim"].role)],
            statements=[iam.PolicyStatement(actions=["states:DescribeExecution"], resources=[executions_of(self.machine)])],
        )  # fmt: skip
        self._on_approval(models)
        if not stage.keep_data:
            self._remove_endpoints(models)
        CfnOutput(self, "ReleaseMachine", value=self.machine.machine.state_machine_arn)
        for model in models:
            CfnOutput(self, f"Endpoint{model.construct_id}", value=keys.endpoint_name(stage.name, model.spec.name))

    def _remove_endpoints(self, models: tuple[Model, ...]) -> None:
        """On deletion the releases end before what they made is removed."""
        remover = Remover(self, stage=self._stage)
        for model in models:
            removed = remover.remove_endpoints(Construct(self, f"Live{model.construct_id}"), keys.endpoint_name(self._stage.name, model.spec.name))
            self.machine.machine.node.add_dependency(removed)

    def _endpoint_alarms(self, model: Model) -> list[cloudwatch.Alarm]:
        """Errors and latency of the live endpoint: they wake a person, and during a bake they restore the champion."""
        spec, scope = model.spec, Construct(self, f"Alarms{model.construct_id}")

        def metric(name: str, statistic: str) -> cloudwatch.Metric:
            dimensions = {"EndpointName": keys.endpoint_name(self._stage.name, spec.name), "VariantName": VARIANT}
            return cloudwatch.Metric(
                namespace="AWS/SageMaker", metric_name=name, dimensions_map=dimensions, statistic=statistic, period=Duration.minutes(1)
            )

        share = cloudwatch.MathExpression(
            expression="IF(calls > 0, errors / calls, 0)", period=Duration.minutes(1),
            using_metrics={"errors": metric("Invocation5XXErrors", "Sum"), "calls": metric("Invocations", "Sum")},
        )  # fmt: skip
        name, topic = spec.name, self._data.topic
        return [
            alarm(scope, "Errors", metric=share, threshold=spec.serve.max_error_rate, description=f"{name}: share of failed predictions", topic=topic),
            alarm(
                scope, "Latency", metric=metric("ModelLatency", "p95"), threshold=spec.serve.max_p95_ms * 1000, topic=topic, periods=3,
                description=f"{name}: p95 of the model's latency is above {spec.serve.max_p95_ms} ms for three minutes",
            ),
        ]  # fmt: skip

    def _function(self, step: str, settings: type[env.Settings], environment: dict[str, str], timeout_s: int = 30) -> Function:
        function = Function(
            self, step, stage=self._stage, layers=self._layers.light, settings=settings, environment=environment, timeout=Duration.seconds(timeout_s)
        )
        function.allow("dynamodb:GetItem", on=[self._data.ledger.table_arn])
        return function

    def _steps(self) -> dict[str, Function]:
        ledger, lake = {"LEDGER_TABLE": self._data.ledger.table_name}, {"LAKE_BUCKET": self._data.lake.bucket_name}
        stage = {"STAGE": self._stage.name}
        claim = self._function("release_claim", env.ReleaseClaimSettings, stage | ledger | lake | {"MAX_BAKE_S": str(self._stage.max_bake_s)})
        claim.allow("dynamodb:PutItem", on=[self._data.ledger.table_arn])
        claim.allow("s3:GetObject", on=[self._data.lake.arn_for_objects("*/code/*")])
        verify = self._function("release_verify", env.ReleaseVerifySettings, ledger)
        smoke = self._function("release_smoke", env.ReleaseSmokeSettings, ledger | lake, timeout_s=120)
        smoke.allow("s3:GetObject", on=[self._data.lake.arn_for_objects("*/runs/*/evaluate/*")])
        smoke.allow("sagemaker:InvokeEndpoint", on=self._sagemaker("endpoint"))
        finish = self._function("release_finish", env.ReleaseFinishSettings, stage | ledger, timeout_s=60)
        finish.allow("dynamodb:PutItem", "dynamodb:DeleteItem", on=[self._data.ledger.table_arn])
        finish.allow("sagemaker:UpdateModelPackage", on=self._sagemaker("model-package"))
        finish.allow("sagemaker:DeleteEndpoint", on=self._sagemaker("endpoint"))
        finish.allow("sagemaker:ListEndpoints", on=["*"])  # it has no resource level
        return {"ReleaseClaim": claim, "ReleaseVerify": verify, "ReleaseSmoke": smoke, "ReleaseFinish": finish}

    def _sagemaker(self, *kinds: str) -> list[str]:
        """ARNs of this stage's own SageMaker resources."""
        return [f"arn:{Aws.PARTITION}:sagemaker:{Aws.REGION}:{Aws.ACCOUNT_ID}:{kind}/{self._stage.name}-*" for kind in kinds]

    def _machine(self, steps: dict[str, Function], alarms: dict[str, list[cloudwatch.Alarm]]) -> Machine:
        serve = JobRole(self, "ServeRole", source=("*",), repository=self._image.repository)
        serve.allow("s3:GetObject", on=[self._data.lake.arn_for_objects("*/runs/*/train/*")])
        names = ", ".join(f"'{model}': [{', '.join(repr(a.alarm_name) for a in found)}]" for model, found in alarms.items())
        machine = Machine(
            self, "release", stage=self._stage, functions={f"{name}Function": function for name, function in steps.items()},
            texts={"Stage": self._stage.name, "ServeRole": serve.role.role_arn, "AlarmNames": f"{{{names}}}"},
            numbers={"PollSeconds": self._stage.poll_s, "BakePollSeconds": self._stage.bake_poll_s}, topic=self._data.topic,
        )  # fmt: skip
        endpoints = ("CreateEndpoint", "UpdateEndpoint", "DescribeEndpoint", "DeleteEndpoint")
        machine.allow("sagemaker:CreateModel", "sagemaker:AddTags", on=self._sagemaker("model"))
        machine.allow("sagemaker:CreateEndpointConfig", "sagemaker:AddTags", on=self._sagemaker("endpoint-config"))
        machine.allow(*(f"sagemaker:{verb}" for verb in endpoints), "sagemaker:AddTags", on=self._sagemaker("endpoint"))
        # These two are asked for on the config too. docs.aws.amazon.com/service-authorization/latest/reference/list_amazonsagemaker.html
        machine.allow("sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint", on=self._sagemaker("endpoint-config"))
        machine.allow("cloudwatch:DescribeAlarms", on=[f"arn:{Aws.PARTITION}:cloudwatch:{Aws.REGION}:{Aws.ACCOUNT_ID}:alarm:*"])
        passed: dict[str, object] = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
        machine.allow("iam:PassRole", on=[serve.role.role_arn], conditions=passed)
        return machine

    def _on_approval(self, models: tuple[Model, ...]) -> None:
        """Approved package → release machine, with what it needs of the event."""
        groups = [keys.package_group(self._stage.name, model.spec.name) for model in models]
        undelivered = Queue(self, "Undelivered", visibility=Duration.minutes(1), topic=self._data.topic)
        rule = events.Rule(
            self,
            "PackageApproved",
            description="Model packages that were approved",
            event_pattern=events.EventPattern(
                source=["aws.sagemaker"], detail_type=["SageMaker Model Package State Change"], detail={"ModelPackageGroupName": groups, **APPROVED}
            ),
        )
        fields = {"group": "ModelPackageGroupName", "version": "ModelPackageVersion"}
        target = targets.SfnStateMachine(
            cast("sfn.IStateMachine", self.machine.machine),
            dead_letter_queue=cast("sqs.IQueue", undelivered.dead),
            input=events.RuleTargetInput.from_object({key: events.EventField.from_path(f"$.detail.{field}") for key, field in fields.items()}),
        )
        rule.add_target(cast("events.IRuleTarget", target))
