"""SageMaker jobs under test: make one, wait for its end, look at what it left."""

import io
import json
import tarfile

import pytest
from botocore.exceptions import ClientError

from localcloud import ACCOUNT, REGION
from tests.conformance.conftest import allow, until

IMAGE = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/test-image:1"
PULL = allow(["ecr:GetAuthorizationToken", "ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"], "*")
LOGS = allow(["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], "*")
EVERYTHING = allow("*", "*")
RUNTIME = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5}


class Training:
    """A training job under test."""

    def __init__(self, account, bucket, role, **settings):
        self.account, self.bucket, self.sagemaker = account, bucket, account.client("sagemaker")
        self.name = settings.pop("TrainingJobName", None) or account.name("job")
        spec = {"TrainingImage": settings.pop("image", IMAGE), "TrainingInputMode": "File"} | settings.pop("spec", {})
        request = {
            "TrainingJobName": self.name, "RoleArn": role, "AlgorithmSpecification": spec, "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/out"},
            "ResourceConfig": RUNTIME, "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        }  # fmt: skip
        self.arn = self.sagemaker.create_training_job(**request | settings)["TrainingJobArn"]

    def describe(self):
        return self.sagemaker.describe_training_job(TrainingJobName=self.name)

    def ended(self):
        return until(lambda: self.describe()["TrainingJobStatus"] not in ("InProgress", "Stopping") and self.describe())

    def archive(self, name="model.tar.gz"):
        """Content of an artifact: {file: text}."""
        body = self.account.client("s3").get_object(Bucket=self.bucket, Key=f"out/{self.name}/output/{name}")["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(body)) as tar:
            return {member.name: tar.extractfile(member).read().decode() for member in tar if member.isfile()}


def channel(name, uri, kind="S3Prefix", **more):
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": kind, "S3Uri": uri}}} | more


def put(account, bucket, **objects):
    for key, text in objects.items():
        account.client("s3").put_object(Bucket=bucket, Key=key.replace("__", "/"), Body=text.encode())


def refused(code, message, call):
    """The error's response."""
    with pytest.raises(ClientError) as error:
        call()
    assert error.value.response["Error"]["Code"] == code
    assert message in error.value.response["Error"]["Message"]
    return error.value.response


def watch(account, detail_type, **detail):
    """A queue that gets the events of one resource."""
    url, queue = account.open_queue("events.amazonaws.com")
    rule = account.name("rule")
    pattern = {"source": ["aws.sagemaker"], "detail-type": [detail_type], "detail": {name: [value] for name, value in detail.items()}}
    account.client("events").put_rule(Name=rule, EventPattern=json.dumps(pattern))
    account.client("events").put_targets(Rule=rule, Targets=[{"Id": "q", "Arn": queue}])
    return url


def processing(account, role, bucket=None, *arguments, name=None, **settings):
    request = {
        "ProcessingJobName": name or account.name("job"), "RoleArn": role, "ProcessingResources": {"ClusterConfig": RUNTIME},
        "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["process"], "ContainerArguments": list(arguments) or ["a"]},
    }  # fmt: skip
    if bucket:
        output = {"S3Uri": f"s3://{bucket}/done", "LocalPath": "/opt/ml/processing/output", "S3UploadMode": "EndOfJob"}
        request["ProcessingOutputConfig"] = {"Outputs": [{"OutputName": "o", "S3Output": output}]}
    sagemaker = account.client("sagemaker")
    sagemaker.create_processing_job(**request | settings)
    name = request["ProcessingJobName"]

    def ended():
        described = sagemaker.describe_processing_job(ProcessingJobName=name)
        return described["ProcessingJobStatus"] not in ("InProgress", "Stopping") and described

    return until(ended)


def s3_input(name, uri, kind="S3Prefix", path=None):
    return {
        "InputName": name,
        "S3Input": {"S3Uri": uri, "LocalPath": path or f"/opt/ml/processing/input/{name}", "S3DataType": kind, "S3InputMode": "File"},
    }


class Tuning:
    """A hyperparameter tuning job under test. `config`, `definition`: members beside or instead of those it always has."""

    def __init__(self, account, bucket, role, ranges, config=None, definition=None, **settings):
        self.account, self.sagemaker = account, account.client("sagemaker")
        request = tuning(account, bucket, role, ranges, config, definition) | settings
        self.name = request["HyperParameterTuningJobName"]
        self.arn = self.sagemaker.create_hyper_parameter_tuning_job(**request)["HyperParameterTuningJobArn"]

    def describe(self):
        return self.sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=self.name)

    def ended(self):
        return until(lambda: self.describe()["HyperParameterTuningJobStatus"] not in ("InProgress", "Stopping") and self.describe())

    def trials(self, **more):
        name = {"HyperParameterTuningJobName": self.name, "MaxResults": 100}
        return self.sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(**name | more)["TrainingJobSummaries"]

    def tuned(self):
        """The hyperparameters of the training jobs, in their order."""
        return [trial["TunedHyperParameters"] for trial in self.trials()]

    def stop(self):
        self.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName=self.name)


def tuning(account, bucket, role, ranges, config=None, definition=None):
    """The request that makes a tuning job: three training jobs, one at a time."""
    limits = {"MaxNumberOfTrainingJobs": 3, "MaxParallelTrainingJobs": 1}
    spec = {"TrainingImage": IMAGE, "TrainingInputMode": "File", "MetricDefinitions": [{"Name": "score", "Regex": "score=(.*?);"}]}
    return {
        "HyperParameterTuningJobName": account.name("tune"),
        "HyperParameterTuningJobConfig": {
            "Strategy": "Random", "HyperParameterTuningJobObjective": {"Type": "Maximize", "MetricName": "score"}, "ResourceLimits": limits,
            "ParameterRanges": ranges,
        } | (config or {}),
        "TrainingJobDefinition": {
            "AlgorithmSpecification": spec, "RoleArn": role, "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/out"}, "ResourceConfig": RUNTIME,
            "StoppingCondition": {"MaxRuntimeInSeconds": 600},
        } | (definition or {}),
    }  # fmt: skip


def limits(number, parallel=1):
    return {"ResourceLimits": {"MaxNumberOfTrainingJobs": number, "MaxParallelTrainingJobs": parallel}}


def continuous(name, low, high, scale="Linear"):
    return {"ContinuousParameterRanges": [{"Name": name, "MinValue": str(low), "MaxValue": str(high), "ScalingType": scale}]}


def integer(name, low, high, scale="Linear"):
    return {"IntegerParameterRanges": [{"Name": name, "MinValue": str(low), "MaxValue": str(high), "ScalingType": scale}]}


def categorical(name, *values):
    return {"CategoricalParameterRanges": [{"Name": name, "Values": list(values)}]}
