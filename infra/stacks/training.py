"""training: from an object in landing to an approved package."""

from typing import cast

from aws_cdk import Aws, CfnOutput, Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_s3_assets as assets
from aws_cdk import aws_sagemaker as sagemaker
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_ssm as ssm
from constructs import Construct, IDependable

from infra.constructs.alarm import alarm
from infra.constructs.function import Function
from infra.constructs.glue_job import GlueJob
from infra.constructs.job_role import JobRole
from infra.constructs.layers import Layers
from infra.constructs.machine import Machine, executions_of
from infra.constructs.queue import Queue
from infra.constructs.remover import Remover
from infra.constructs.retention import removal
from infra.models import Model
from infra.settings import Stage
from infra.stacks.data import DataStack
from infra.stacks.image import ImageStack
from tidemill import environment as env
from tidemill import jobs, keys
from tidemill.dataset import SplitName

JOBS = {"Training": "training-job", "Processing": "processing-job", "HyperParameterTuning": "hyper-parameter-tuning-job"}
"""SageMaker's word for a kind of job, and that of its ARNs."""
TRACKING = ("GetExperimentByName", "CreateExperiment", "SearchRuns", "CreateRun", "LogBatch", "LogInputs", "UpdateRun")
"""What the export of a run calls on a SageMaker MLflow App or tracking server."""
SWEEP_EVERY = Duration.minutes(15)
MAX_UNPACKED_BYTES = 4 * 1024**3
"""What prepare does in half its 900 s, and what its disk holds twice: the upload as it came, and its part."""


class TrainingStack(Stack):
    """The training machine, what starts it, and what it calls."""

    def __init__(self, scope: Construct, name: str, *, stage: Stage, models: tuple[Model, ...], data: DataStack, image: ImageStack) -> None:
        super().__init__(scope, name, description=f"Tidemill {stage.name}: intake to registry")
        self._stage, self._data, self._image = stage, data, image
        self._layers = Layers(self, stage=stage)
        self._remover = None if stage.keep_data else Remover(self, stage=stage)
        self._removed: list[IDependable] = []
        self._models = models
        self._folders = [self._model(model) for model in models]
        self.intake_queue = Queue(self, "Intake", visibility=Duration.minutes(3), topic=data.topic)
        self.tick_queue = Queue(self, "Tick", visibility=Duration.minutes(3), topic=data.topic)
        self._common = {"STAGE": stage.name, "LEDGER_TABLE": data.ledger.table_name}
        steps = self._steps()
        self.machine = self._machine(steps)
        self.machine.machine.node.add_dependency(*self._removed)  # on deletion the runs end before what they made is removed
        self._intake()
        self._start()
        self._sweep()
        CfnOutput(self, "TrainingMachine", value=self.machine.machine.state_machine_arn)
        for what, queue in (("Intake", self.intake_queue), ("Tick", self.tick_queue)):
            CfnOutput(self, f"{what}Queue", value=queue.queue.queue_url)
            CfnOutput(self, f"{what}DeadQueue", value=queue.dead.queue_url)

    def _model(self, model: Model) -> assets.Asset:
        """The model's folder as an asset, the parameter that says where it lies, and its package group."""
        spec, stage = model.spec, self._stage
        scope = Construct(self, f"Model{model.construct_id}")
        folder = assets.Asset(scope, "Folder", path=str(model.folder), exclude=["__pycache__", "*.pyc"])
        quiet_s = spec.data.quiet_s if stage.quiet_s is None else min(stage.quiet_s, spec.data.quiet_s)
        entry = {"uri": folder.s3_object_url, "sha256": folder.asset_hash, "quiet_s": quiet_s, "max_wait_s": spec.data.max_wait_s}
        ssm.StringParameter(
            scope, "Entry", parameter_name=keys.parameter_name(stage.name, spec.name), string_value=Stack.of(self).to_json_string(entry)
        )
        group = sagemaker.CfnModelPackageGroup(
            scope,
            "Packages",
            model_package_group_name=keys.package_group(stage.name, spec.name),
            # Not the question: another description replaces the group, and its name is taken.
            model_package_group_description=f"Models of {spec.name}",
        )
        group.apply_removal_policy(removal(stage))
        if self._remover is not None:
            self._removed.append(self._remover.remove_packages(scope, keys.package_group(stage.name, spec.name), group))
        return folder

    def _function(
        self, step: str, settings: type[env.Settings], environment: dict[str, str], *,
        frames: bool = False, memory_mb: int = 256, storage_mb: int = 512, timeout_s: int = 30,
    ) -> Function:  # fmt: skip
        layers: list[lambda_.ILayerVersion] = self._layers.frames if frames else self._layers.light
        return Function(
            self,
            step,
            stage=self._stage,
            layers=layers,
            settings=settings,
            environment=environment,
            memory_mb=memory_mb,
            storage_mb=storage_mb,
            timeout=Duration.seconds(timeout_s),
        )

    def _ledger(self, function: Function, *verbs: str) -> None:
        """Records are read and conditionally written; what a run writes is fenced by a check of its epoch. Only marks are deleted."""
        function.allow(*(f"dynamodb:{verb}" for verb in verbs), on=[self._data.ledger.table_arn])

    def _finishes(self, function: Function) -> None:
        """What the end of a run writes: its record, its uploads given back or parked, the lease."""
        self._ledger(function, "GetItem", "BatchGetItem", "Query", "PutItem", "DeleteItem", "ConditionCheckItem")

    def _models_of(self, function: Function) -> None:
        path = f"arn:{Aws.PARTITION}:ssm:{Aws.REGION}:{Aws.ACCOUNT_ID}:parameter{keys.parameter_name(self._stage.name, '*')}"
        function.allow("ssm:GetParameter", on=[path])

    def _lake(self, function: Function, *, read: tuple[str, ...] = (), write: tuple[str, ...] = ()) -> None:
        bucket = self._data.lake
        if read:
            function.allow("s3:GetObject", on=[bucket.arn_for_objects(pattern) for pattern in read])
        if write:
            function.allow("s3:PutObject", on=[bucket.arn_for_objects(pattern) for pattern in write])

    def _steps(self) -> dict[str, Function]:
        """The functions the machine calls; each with its grants right under it."""
        lake = {"LAKE_BUCKET": self._data.lake.bucket_name}
        ledger = {"LEDGER_TABLE": self._data.ledger.table_name}
        claim = self._function(
            "claim", env.ClaimSettings, self._common | lake | {"LARGE_BYTES": str(self._stage.large_bytes)}, memory_mb=512, timeout_s=300
        )
        self._ledger(claim, "GetItem", "BatchGetItem", "Query", "PutItem", "ConditionCheckItem")
        self._models_of(claim)
        self._lake(claim, write=("*/code/*", "*/runs/*"))
        for folder in self._folders:
            claim.allow("s3:GetObject", on=[folder.bucket.arn_for_objects(folder.s3_object_key)])
        prepare = self._function(
            "prepare",
            env.PrepareSettings,
            ledger | lake | {"LANDING_BUCKET": self._data.landing.bucket_name, "MAX_UNPACKED_BYTES": str(MAX_UNPACKED_BYTES)},
            frames=True,
            memory_mb=3008,
            storage_mb=10_240,
            timeout_s=900,
        )
        self._ledger(prepare, "GetItem", "Query", "PutItem", "DeleteItem", "ConditionCheckItem")
        self._lake(prepare, read=("*/code/*", "*/runs/*", "*/parts/*"), write=("*/parts/*", "*/rows/*", "*/rejects/*", "*/catalog/uploads/*"))
        # ListBucket makes a missing object answer 404, not 403: the reason an upload is refused for must be the true one.
        prepare.allow("s3:ListBucket", on=[self._data.lake.bucket_arn, self._data.landing.bucket_arn])
        prepare.allow("s3:GetObjectVersion", on=[self._data.landing.arn_for_objects("*")])
        large = self._function("prepared_large", env.PreparedLargeSettings, ledger | lake, timeout_s=300)
        self._ledger(large, "GetItem", "Query", "PutItem", "DeleteItem", "ConditionCheckItem")
        self._lake(large, read=("*/runs/*", "*/parts/*"), write=("*/catalog/uploads/*",))
        assemble = self._function("assemble", env.AssembleSettings, ledger | lake, memory_mb=1024, timeout_s=300)
        self._ledger(assemble, "GetItem", "Query", "PutItem", "ConditionCheckItem")
        self._lake(assemble, read=("*/code/*", "*/parts/*"), write=("*/datasets/*", "*/parts/index.v1.json", "*/catalog/datasets/*"))
        # A first run has no index of parts: ListBucket makes that answer 404, not 403.
        assemble.allow("s3:ListBucket", on=[self._data.lake.bucket_arn])
        # The release machine's stack comes later; CloudFormation names a machine by its logical id, which starts with Release.
        releases = f"arn:{Aws.PARTITION}:states:{Aws.REGION}:{Aws.ACCOUNT_ID}:execution:Release*:*"
        assemble.allow("states:DescribeExecution", on=[releases])
        pack = self._function("pack", env.PackSettings, lake, frames=True, memory_mb=3008, timeout_s=900)
        self._lake(pack, read=("*/datasets/*", "*/rows/*", "*/packs/*"), write=("*/packs/*", "*/datasets/*"))
        pack.allow("s3:ListBucket", on=[self._data.lake.bucket_arn])  # 404 for a pack that is not there yet
        gate = self._function("gate", env.GateSettings, ledger | lake, memory_mb=512, timeout_s=60)
        self._ledger(gate, "GetItem", "Query", "PutItem", "ConditionCheckItem")
        self._lake(gate, read=("*/code/*", "*/runs/*/evaluate/*", "*/datasets/*/summary.json"), write=("*/runs/*/report.html",))
        gate.allow("s3:ListBucket", on=[self._data.lake.bucket_arn])  # 404, not 403, for a summary that is gone
        register = self._function("register", env.RegisterSettings, self._common | lake | {"ALERTS_TOPIC_ARN": self._data.topic.topic_arn})
        register.allow("sns:Publish", on=[self._data.topic.topic_arn])
        self._ledger(register, "GetItem", "PutItem", "ConditionCheckItem")
        self._lake(register, read=("*/code/*", "*/runs/*/evaluate/*"))
        register.allow("sagemaker:CreateModelPackage", on=self._sagemaker("model-package-group", "model-package"))
        register.allow("sagemaker:UpdateModelPackage", on=self._sagemaker("model-package"))
        finish = self._function("finish", env.FinishSettings, ledger | {"TICK_QUEUE_URL": self.tick_queue.queue.queue_url})
        self._finishes(finish)
        finish.allow("sqs:SendMessage", on=[self.tick_queue.queue.queue_arn])
        return {
            "Claim": claim, "Prepare": prepare, "PreparedLarge": large, "Assemble": assemble, "Pack": pack, "Gate": gate, "Register": register,
            "Export": self._export(ledger | lake), "Finish": finish,
        }  # fmt: skip

    def _export(self, environment: dict[str, str]) -> Function:
        """Tells MLflow servers of runs; those on SageMaker that specs name it calls with its role.

        Source: docs.aws.amazon.com/service-authorization/latest/reference/list_sagemaker-mlflow.html
        """
        export = self._function("export", env.ExportSettings, {"STAGE": self._stage.name} | environment, timeout_s=110)
        self._ledger(export, "GetItem")
        self._lake(export, read=("*/code/*", "*/runs/*/evaluate/*"))
        places = sorted({model.spec.experiments.mlflow for model in self._models if model.spec.experiments})
        if on_sagemaker := [place for place in places if place.startswith("arn:")]:
            export.allow(*(f"sagemaker-mlflow:{verb}" for verb in TRACKING), on=on_sagemaker)
        if apps := [place for place in on_sagemaker if ":mlflow-app/" in place]:
            export.allow("sagemaker:CallMlflowAppApi", on=apps)
        if places:
            self._tell("ExportsFailed", "export", "a run could not be told to MLflow; the function's log has the reason")
        return export

    def _large(self) -> GlueJob:
        """Prepares what is too large for a function. It writes parts; of the ledger it reads which keys are suppressed."""
        landing, lake = self._data.landing, self._data.lake
        names = {"--landing": landing.bucket_name, "--lake": lake.bucket_name, "--ledger": self._data.ledger.table_name}
        job = GlueJob(self, "PrepareLarge", stage=self._stage, script="glue/prepare.py", arguments=names)
        job.allow("s3:GetObject", on=[lake.arn_for_objects(pattern) for pattern in ("*/code/*", "*/runs/*", "*/parts/*")])
        written = ("*/parts/*", "*/rows/*", "*/rejects/*", "*/runs/*/large/*")
        job.allow("s3:PutObject", on=[lake.arn_for_objects(pattern) for pattern in written])
        job.allow("dynamodb:Query", on=[self._data.ledger.table_arn])
        job.allow("s3:GetObjectVersion", on=[landing.arn_for_objects("*")])
        job.allow("s3:ListBucket", on=[lake.bucket_arn, landing.bucket_arn])  # 404, not 403, for what is missing
        return job

    def _sagemaker(self, *kinds: str) -> list[str]:
        """ARNs of this stage's own SageMaker resources."""
        return [f"arn:{Aws.PARTITION}:sagemaker:{Aws.REGION}:{Aws.ACCOUNT_ID}:{kind}/{self._stage.name}-*" for kind in kinds]

    def _machine(self, steps: dict[str, Function]) -> Machine:
        repository, lake = self._image.repository, self._data.lake
        train = JobRole(self, "TrainRole", source=("training-job/*", "hyper-parameter-tuning-job/*"), repository=repository)
        train.allow("s3:GetObject", on=[lake.arn_for_objects(pattern) for pattern in ("*/code/*", "*/datasets/*", *_rows_of("train", "validation"))])
        train.allow("s3:PutObject", on=[lake.arn_for_objects("*/runs/*/train/*")])
        train.allow("s3:GetObject", "s3:PutObject", on=[lake.arn_for_objects("*/runs/*/checkpoints/*")])
        train.allow("s3:ListBucket", on=[lake.bucket_arn])
        evaluate = JobRole(self, "EvaluateRole", source=("processing-job/*",), repository=repository)
        evaluate.allow(
            "s3:GetObject",
            on=[lake.arn_for_objects(pattern) for pattern in ("*/datasets/*", *_rows_of("test"), "*/runs/*/train/*", "*/runs/*/scores/*")],
        )
        evaluate.allow("s3:PutObject", on=[lake.arn_for_objects(pattern) for pattern in ("*/runs/*/evaluate/*", "*/runs/*/scores/*")])
        evaluate.allow("s3:ListBucket", on=[lake.bucket_arn])
        large = self._large()
        machine = Machine(
            self, "training", stage=self._stage, functions={f"{name}Function": function for name, function in steps.items()},
            texts={
                "Stage": self._stage.name, "TrainRole": train.role.role_arn, "EvaluateRole": evaluate.role.role_arn, "ImageTag": self._image.tag,
                "ImageRepository": repository.repository_name, "ImageRepositoryUri": repository.repository_uri,
                "LargeJob": large.job.ref, "Objective": jobs.OBJECTIVE, "ObjectiveLine": jobs.LINE,
            },
            numbers={"ImageWaitSeconds": self._stage.image_wait_s, "PollSeconds": self._stage.poll_s}, topic=self._data.topic,
        )  # fmt: skip
        machine.allow("ecr:DescribeImages", on=[repository.repository_arn])
        machine.allow("glue:StartJobRun", "glue:GetJobRun", "glue:GetJobRuns", "glue:BatchStopJobRun", on=[large.arn])
        for kind, path in JOBS.items():
            verbs = (f"Create{kind}Job", f"Describe{kind}Job", f"Stop{kind}Job", "AddTags")
            machine.allow(*(f"sagemaker:{verb}" for verb in verbs), on=self._sagemaker(path))
        passed: dict[str, object] = {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}
        machine.allow("iam:PassRole", on=[train.role.role_arn, evaluate.role.role_arn], conditions=passed)
        rules = [f"StepFunctionsGetEventsForSageMaker{kind}JobsRule" for kind in ("Training", "Processing", "Tuning")]
        machine.allow(
            "events:PutTargets", "events:PutRule", "events:DescribeRule",
            on=[f"arn:{Aws.PARTITION}:events:{Aws.REGION}:{Aws.ACCOUNT_ID}:rule/{rule}" for rule in rules],
        )  # fmt: skip
        return machine

    def _intake(self) -> None:
        """S3 → rule → queue → intake."""
        rule = events.Rule(
            self,
            "ObjectCreated",
            description="Objects that arrive in the landing bucket",
            event_pattern=events.EventPattern(
                source=["aws.s3"], detail_type=["Object Created"], detail={"bucket": {"name": [self._data.landing.bucket_name]}}
            ),
        )
        target = targets.SqsQueue(cast("sqs.IQueue", self.intake_queue.queue), dead_letter_queue=cast("sqs.IQueue", self.intake_queue.dead))
        rule.add_target(cast("events.IRuleTarget", target))
        environment = {"TICK_QUEUE_URL": self.tick_queue.queue.queue_url, "LANDING_BUCKET": self._data.landing.bucket_name}
        intake = self._function("intake", env.IntakeSettings, self._common | environment)
        self._ledger(intake, "GetItem", "PutItem")
        self._models_of(intake)
        intake.allow("sqs:SendMessage", on=[self.tick_queue.queue.queue_arn])
        self._feed(intake, self.intake_queue)
        for step in ("intake", "prepare", "prepared_large"):
            self._tell("UploadsRefused", step, "an upload was refused; the ledger has the reason")
        for step in ("finish", "sweep"):
            self._tell("UploadsParked", step, "an upload was parked: three runs died before it was prepared; the ledger has the reason")

    def _tell(self, what: str, step: str, description: str) -> None:
        metric = cloudwatch.Metric(
            namespace="Tidemill", metric_name=what, dimensions_map={"service": step}, statistic="Sum", period=Duration.minutes(5)
        )
        alarm(self, f"{what}{step.title()}", metric=metric, threshold=0, topic=self._data.topic, description=description)

    def _start(self) -> None:
        """Delay queue → start → machine."""
        arn = self.machine.machine.state_machine_arn
        start = self._function("start", env.StartSettings, self._common | {"TRAINING_MACHINE_ARN": arn})
        self._ledger(start, "GetItem", "Query")
        self._models_of(start)
        start.allow("states:StartExecution", on=[arn])
        self._feed(start, self.tick_queue)

    def _sweep(self) -> None:
        """Executions that ended without their finish, and every quarter of an hour whatever else was lost → sweep."""
        arn = self.machine.machine.state_machine_arn
        environment = {"TICK_QUEUE_URL": self.tick_queue.queue.queue_url, "TRAINING_MACHINE_ARN": arn}
        sweep = self._function("sweep", env.SweepSettings, self._common | environment, timeout_s=300)
        self._finishes(sweep)
        path = keys.parameter_name(self._stage.name, "").rstrip("/")
        sweep.allow("ssm:GetParametersByPath", on=[f"arn:{Aws.PARTITION}:ssm:{Aws.REGION}:{Aws.ACCOUNT_ID}:parameter{path}"])
        sweep.allow("states:DescribeExecution", on=[executions_of(self.machine)])
        sweep.allow("sqs:SendMessage", on=[self.tick_queue.queue.queue_arn])
        ended = events.EventPattern(
            source=["aws.states"],
            detail_type=["Step Functions Execution Status Change"],
            detail={"stateMachineArn": [arn], "status": ["FAILED", "TIMED_OUT", "ABORTED"]},
        )
        rules = (
            events.Rule(self, "RunEnded", description="Training runs that ended badly, also without their finish", event_pattern=ended),
            events.Rule(
                self, "Sweep", description="Looks for runs and uploads that nothing else takes care of", schedule=events.Schedule.rate(SWEEP_EVERY)
            ),
        )
        for rule in rules:
            rule.add_target(cast("events.IRuleTarget", targets.LambdaFunction(cast("lambda_.IFunction", sweep.function))))

    def _feed(self, function: Function, queue: Queue) -> None:
        source = sources.SqsEventSource(cast("sqs.IQueue", queue.queue), batch_size=10, report_batch_item_failures=True)
        function.function.add_event_source(cast("lambda_.IEventSource", source))


def _rows_of(*sides: SplitName) -> tuple[str, ...]:
    """Keys of the rows of some sides only: their files and packs, and the days that a split by time deals out by channel."""
    return (*(f"*/rows/*/{side}.parquet" for side in sides), *(f"*/packs/{side}/*" for side in sides), "*/rows/*/????-??-??.parquet")
