"""SageMaker processing jobs, and what jobs here cannot do, as the developer guide and the API reference describe them."""

import json

import pytest
from botocore.exceptions import ClientError

from localcloud import ACCOUNT, REGION
from tests.conformance.jobs import EVERYTHING, IMAGE, RUNTIME, Training, channel, processing, put, refused, s3_input, watch


@pytest.fixture
def role(account):
    return account.role("sagemaker.amazonaws.com", EVERYTHING)


# Processing: docs.aws.amazon.com/sagemaker/latest/dg/build-your-own-processing-container.html


def test_a_processing_job_brings_inputs_and_takes_outputs(account, bucket, role):
    put(account, bucket, in__a="1", in__deep__b="2", m=json.dumps([{"prefix": f"s3://{bucket}/in/"}, "a"]))
    inputs = [s3_input("all", f"s3://{bucket}/in/"), s3_input("some", f"s3://{bucket}/m", "ManifestFile")]
    done = processing(account, role, bucket, "--x", "y", ProcessingInputs=inputs)
    assert (done["ProcessingJobStatus"], "ExitMessage" in done) == ("Completed", False)
    read = lambda key: json.loads(account.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())  # noqa: E731
    assert read("done/arguments.json") == ["--x", "y"]
    assert read("done/deep/seen.json") == {"all/a": "1", "all/deep/b": "2", "some/a": "1"}


def test_a_failed_processing_job_has_its_containers_message(account, bucket, role):
    # ExitMessage: API_DescribeProcessingJob.html; the reason as aws/sagemaker-spark-container's integration tests see it
    name = account.name("job")
    url = watch(account, "SageMaker Processing Job State Change", ProcessingJobName=name)
    done = processing(account, role, bucket, "fail", name=name)
    assert (done["ProcessingJobStatus"], done["ExitMessage"]) == ("Failed", "told to fail")
    assert done["FailureReason"] == "AlgorithmError: See job logs for more information"
    assert "Contents" not in account.client("s3").list_objects_v2(Bucket=bucket)
    events = [json.loads(message["Body"]) for message in account.messages(url, 2)]
    assert {e["detail"]["ProcessingJobStatus"] for e in events} == {"InProgress", "Failed"}


def test_a_processing_job_without_data_or_outside_opt_ml_fails(account, bucket, role):
    done = processing(account, role, ProcessingInputs=[s3_input("x", f"s3://{bucket}/none")])
    assert (done["ProcessingJobStatus"], "No S3 objects found" in done["FailureReason"]) == ("Failed", True)
    put(account, bucket, x="1")
    for path in ("/elsewhere/x", "/opt/ml/../x"):
        assert "is not below /opt/ml" in processing(account, role, ProcessingInputs=[s3_input("x", f"s3://{bucket}/x", path=path)])["FailureReason"]


# Refused by name


PLAN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:training-plan/a-plan"
FILE_SYSTEM = {"FileSystemId": "fs-12345678901", "FileSystemAccessMode": "ro", "FileSystemType": "EFS", "DirectoryPath": "/"}


def s3_source(**more):
    return [{"ChannelName": "c", "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/x"} | more}}]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["s-1"]}}, "VpcConfig"),
        ({"TensorBoardOutputConfig": {"S3OutputPath": "s3://b/x"}}, "TensorBoardOutputConfig"),
        ({"RetryStrategy": {"MaximumRetryAttempts": 1}}, "RetryStrategy"),
        ({"spec": {"TrainingInputMode": "Pipe"}}, "AlgorithmSpecification.TrainingInputMode=Pipe"),
        ({"ResourceConfig": RUNTIME | {"InstanceCount": 9}}, "ResourceConfig.InstanceCount=9"),
        ({"ResourceConfig": RUNTIME | {"TrainingPlanArn": PLAN}}, "ResourceConfig.TrainingPlanArn"),
        ({"OutputDataConfig": {"S3OutputPath": "s3://b/o", "CompressionType": "NONE"}}, "OutputDataConfig.CompressionType=NONE"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 5, "MaxPendingTimeInSeconds": 7200}}, "StoppingCondition.MaxPendingTimeInSeconds"),
        ({"InputDataConfig": [channel("c", "s3://b/x", CompressionType="Gzip")]}, "InputDataConfig.CompressionType=Gzip"),
        ({"InputDataConfig": [channel("c", "s3://b/x", RecordWrapperType="RecordIO")]}, "InputDataConfig.RecordWrapperType=RecordIO"),
        ({"InputDataConfig": [channel("c", "s3://b/x", InputMode="FastFile")]}, "InputDataConfig.InputMode=FastFile"),
        ({"InputDataConfig": [channel("c", "s3://b/x", ShuffleConfig={"Seed": 1})]}, "InputDataConfig.ShuffleConfig"),
        ({"InputDataConfig": [channel("c", "s3://b/x", "AugmentedManifestFile")]}, "S3DataType=AugmentedManifestFile"),
        ({"InputDataConfig": s3_source(S3DataDistributionType="ShardedByS3Key")}, "S3DataDistributionType=ShardedByS3Key"),
        ({"InputDataConfig": [{"ChannelName": "c", "DataSource": {"FileSystemDataSource": FILE_SYSTEM}}]}, "InputDataConfig.DataSource.FileSystemDataSource"),
    ],
)  # fmt: skip
def test_what_a_training_job_here_cannot_do_is_refused_by_name(account, bucket, role, settings, named):
    refused("NotSupportedByLocalcloud", f"{named} of CreateTrainingJob", lambda: Training(account, bucket, role, **settings))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"NetworkConfig": {"VpcConfig": {"SecurityGroupIds": ["sg-1"], "Subnets": ["s-1"]}}}, "NetworkConfig.VpcConfig"),
        ({"NetworkConfig": {"EnableInterContainerTrafficEncryption": True}}, "NetworkConfig.EnableInterContainerTrafficEncryption"),
        ({"ExperimentConfig": {"ExperimentName": "e"}}, "ExperimentConfig"),
        ({"ProcessingResources": {"ClusterConfig": RUNTIME | {"InstanceCount": 2}}}, "ClusterConfig.InstanceCount=2"),
        ({"AppSpecification": {"ImageUri": IMAGE}}, "without AppSpecification.ContainerEntrypoint"),
    ],
)
def test_what_a_processing_job_here_cannot_do_is_refused_by_name(account, role, settings, named):
    refused("NotSupportedByLocalcloud", named, lambda: processing(account, role, **settings))


@pytest.mark.parametrize("operation", ["create_transform_job", "create_compilation_job", "create_auto_ml_job", "create_pipeline"])
def test_other_operations_are_refused_by_name(account, operation):
    client = account.client("sagemaker")
    name = "".join(word.title() for word in operation.split("_")).replace("AutoMl", "AutoML")
    client.meta.config.parameter_validation = True
    with pytest.raises(ClientError, match=f"localcloud does not do this: sagemaker:{name}"):
        client._make_api_call(name, _least(client.meta.service_model.operation_model(name).input_shape))


def _least(shape):
    """The least that botocore lets pass."""
    match shape.type_name:
        case "structure":
            return {name: _least(shape.members[name]) for name in shape.required_members}
        case "list":
            return [_least(shape.member)]
        case "map":
            return {}
        case "integer" | "long":
            return 1
    return shape.enum[0] if getattr(shape, "enum", None) else "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"


def test_jobs_are_listed_by_name_and_status_in_pages(account, bucket, role):
    # docs.aws.amazon.com/sagemaker/latest/APIReference/API_ListTrainingJobs.html
    word = account.name("word")
    jobs = [Training(account, bucket, role, TrainingJobName=f"{word}-{i}", HyperParameters={"fail": "x"} if i else {}) for i in range(3)]
    for job in jobs:
        job.ended()
    listed = lambda **p: [j["TrainingJobName"] for j in jobs[0].sagemaker.list_training_jobs(NameContains=word, **p)["TrainingJobSummaries"]]  # noqa: E731
    assert listed(StatusEquals="Failed", SortBy="Name", SortOrder="Ascending") == [f"{word}-1", f"{word}-2"]
    assert listed(MaxResults=1, SortBy="CreationTime") == [f"{word}-2"]
    pages = jobs[0].sagemaker.get_paginator("list_training_jobs").paginate(NameContains=word, PaginationConfig={"PageSize": 2})
    assert len([j for p in pages for j in p["TrainingJobSummaries"]]) == 3
    refused("NotSupportedByLocalcloud", "TrainingPlanArnEquals of ListTrainingJobs", lambda: listed(TrainingPlanArnEquals=PLAN))
