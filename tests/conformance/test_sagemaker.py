"""SageMaker training jobs, as the developer guide and the API reference describe them."""

import json

import pytest

from localcloud import ACCOUNT, REGION
from tests.conformance.conftest import allow, until
from tests.conformance.jobs import EVERYTHING, IMAGE, LOGS, PULL, RUNTIME, Training, channel, put, refused, watch


@pytest.fixture
def role(account):
    return account.role("sagemaker.amazonaws.com", EVERYTHING)


# Training: docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html


def test_a_training_job_goes_through_its_statuses_and_leaves_a_model(account, bucket, role):
    # the statuses: docs.aws.amazon.com/sagemaker/latest/APIReference/API_SecondaryStatusTransition.html
    job = Training(account, bucket, role, HyperParameters={"output": "more"})
    done = job.ended()
    assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Completed", "Completed")
    transitions = done["SecondaryStatusTransitions"]
    assert [t["Status"] for t in transitions] == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert all(t["StartTime"] <= t["EndTime"] and t["StatusMessage"] for t in transitions)
    assert done["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{bucket}/out/{job.name}/output/model.tar.gz"
    assert set(job.archive()) == {"model.json"}
    assert job.archive("output.tar.gz") == {"output.txt": "more"}
    assert done["TrainingTimeInSeconds"] >= 1
    assert done["TrainingStartTime"] <= done["TrainingEndTime"]


def test_channels_hyperparameters_and_config_lie_where_the_contract_says(account, bucket, role):
    # manifests: docs.aws.amazon.com/sagemaker/latest/APIReference/API_S3DataSource.html
    manifest = json.dumps([{"prefix": f"s3://{bucket}/data/"}, "a.csv", "deep/b.csv"])
    put(account, bucket, data__a_csv="", **{"data/a.csv": "1", "data/deep/b.csv": "2", "data/c.csv": "3", "m.json": manifest, "code/train.py": "x"})
    channels = [
        channel("code", f"s3://{bucket}/code/"), channel("one", f"s3://{bucket}/data/a.csv", ContentType="text/csv"),
        channel("listed", f"s3://{bucket}/m.json", "ManifestFile"),
    ]  # fmt: skip
    job = Training(account, bucket, role, InputDataConfig=channels, HyperParameters={"accuracy": "0.9"})
    assert job.ended()["TrainingJobStatus"] == "Completed"
    model = json.loads(job.archive()["model.json"])
    data = [path for path in model["seen"] if path.startswith("input/data")]
    assert data == ["input/data/code/train.py", "input/data/listed/a.csv", "input/data/listed/deep/b.csv", "input/data/one/a.csv"]
    config = model["config"]
    assert config["hyperparameters"] == {"accuracy": "0.9"}
    assert config["resourceconfig"]["current_host"] == "algo-1"
    one = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None", "ContentType": "text/csv"}
    assert config["inputdataconfig"]["one"] == one


def test_what_the_container_wrote_to_the_failure_file_is_the_reason(account, bucket, role):
    job = Training(account, bucket, role, HyperParameters={"fail": "bad data", "exit": "3"})
    done = job.ended()
    assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Failed", "Failed")
    assert done["FailureReason"] == "AlgorithmError: bad data, exit code: 3"
    assert done["SecondaryStatusTransitions"][-1]["StatusMessage"] == done["FailureReason"]


def test_the_failure_reason_has_at_most_1024_characters(account, bucket, role):
    # API_DescribeTrainingJob.html: FailureReason, maximum length 1024
    reason = Training(account, bucket, role, HyperParameters={"fail": "x" * 2000}).ended()["FailureReason"]
    assert len(reason) == 1024


def test_stopping_sends_sigterm_and_keeps_what_the_container_saves(account, bucket, role):
    # docs.aws.amazon.com/sagemaker/latest/APIReference/API_StopTrainingJob.html
    job = Training(account, bucket, role, HyperParameters={"sleep_s": "60", "on_term": "half done"})
    until(lambda: account.log("/aws/sagemaker/TrainingJobs") and job.describe()["SecondaryStatus"] == "Training")
    stream = f"{job.name}/algo-1"
    until(
        lambda: (
            stream
            in [s["logStreamName"] for s in account.client("logs").describe_log_streams(logGroupName="/aws/sagemaker/TrainingJobs")["logStreams"]]
        )
    )
    job.sagemaker.stop_training_job(TrainingJobName=job.name)
    assert job.describe()["TrainingJobStatus"] in ("Stopping", "Stopped")
    done = job.ended()
    assert (done["TrainingJobStatus"], done["SecondaryStatus"], "FailureReason" in done) == ("Stopped", "Stopped", False)
    assert [t["Status"] for t in done["SecondaryStatusTransitions"]][-2:] == ["Stopping", "Stopped"]
    assert job.archive() == {"saved": "half done"}
    refused("ValidationException", "is in status Stopped", lambda: job.sagemaker.stop_training_job(TrainingJobName=job.name))


def test_a_job_that_runs_too_long_is_stopped(account, bucket, role):
    # API_StoppingCondition.html; SecondaryStatus MaxRuntimeExceeded: API_DescribeTrainingJob.html
    job = Training(account, bucket, role, HyperParameters={"sleep_s": "60"}, StoppingCondition={"MaxRuntimeInSeconds": 1})
    done = job.ended()
    assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def test_names_are_used_once_and_have_a_pattern(account, bucket, role):
    # API_CreateTrainingJob.html: TrainingJobName, Pattern ^[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}
    job = Training(account, bucket, role)
    refused(
        "ResourceInUse", "Job name must be unique within an AWS account and region", lambda: Training(account, bucket, role, TrainingJobName=job.name)
    )
    told = "Value 'a_b' at 'trainingJobName' failed to satisfy constraint: Member must satisfy regular expression pattern"
    refused("ValidationException", told, lambda: Training(account, bucket, role, TrainingJobName="a_b"))
    refused("ValidationException", "Requested resource not found.", lambda: job.sagemaker.describe_training_job(TrainingJobName="none"))


def test_metrics_are_read_from_the_log_and_published(account, bucket, role):
    # docs.aws.amazon.com/sagemaker/latest/dg/define-train-metrics.html
    definitions = [{"Name": "loss", "Regex": "loss=(.*?);"}, {"Name": "accuracy", "Regex": "accuracy=(.*?);"}, {"Name": "odd", "Regex": "(loss)"}]
    job = Training(account, bucket, role, spec={"MetricDefinitions": definitions}, HyperParameters={"accuracy": "0.75"})
    done = job.ended()
    assert {m["MetricName"]: m["Value"] for m in done["FinalMetricDataList"]} == {"loss": 0.25, "accuracy": 0.75}
    now = account.cloud.clock.now()
    metric = {
        "Namespace": "/aws/sagemaker/TrainingJobs", "MetricName": "accuracy", "Dimensions": [{"Name": "TrainingJobName", "Value": job.name}],
    }  # fmt: skip
    query = [{"Id": "m", "MetricStat": {"Metric": metric, "Period": 3600, "Stat": "Maximum"}}]
    found = account.client("cloudwatch").get_metric_data(MetricDataQueries=query, StartTime=now - 7200, EndTime=now + 7200)
    assert found["MetricDataResults"][0]["Values"] == [0.75]


def test_the_container_has_its_roles_credentials_unless_isolated(account, bucket, role):
    # "If you enable network isolation … no AWS credentials are made available to the container": … /dg/mkt-algo-model-internet-free.html
    keys = json.loads(_model(Training(account, bucket, role)))["keys"]
    import boto3

    who = boto3.client(
        "sts", endpoint_url=account.cloud.endpoint, region_name=REGION, aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"], aws_session_token=keys["AWS_SESSION_TOKEN"],
    ).get_caller_identity()  # fmt: skip
    assert who["Arn"].startswith(f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/")
    assert json.loads(_model(Training(account, bucket, role, EnableNetworkIsolation=True)))["keys"] == {}


def _model(job):
    assert job.ended()["TrainingJobStatus"] == "Completed"
    return job.archive()["model.json"]


def test_the_log_is_the_containers(account, bucket, role):
    # docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
    job = Training(account, bucket, role)
    job.ended()
    account.cloud.logs.flush()
    lines = account.client("logs").get_log_events(logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=f"{job.name}/algo-1")["events"]
    assert [line["message"] for line in lines] == ["loss=0.25; accuracy=0.5;"]


# Roles


def test_a_role_that_cannot_be_assumed_is_refused(account, bucket):
    # wording as users of AWS quote it, no page has it; a condition on the job's ARN: … /dg/security-confused-deputy-prevention.html
    wrong = account.role("lambda.amazonaws.com", EVERYTHING)
    told = f"Could not assume role {wrong}. Please ensure that the role exists and allows principal 'sagemaker.amazonaws.com' to assume the role."
    refused("ValidationException", told, lambda: Training(account, bucket, wrong))
    other = {"ArnLike": {"aws:SourceArn": f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:processing-job/*"}}
    narrow = account.role("sagemaker.amazonaws.com", EVERYTHING, conditions=other)
    refused("ValidationException", "Could not assume role", lambda: Training(account, bucket, narrow))


def test_a_caller_needs_pass_role(account, bucket, role):
    # docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html#sagemaker-roles-pass-role
    caller = account.role("lambda.amazonaws.com", allow("sagemaker:*", "*"))
    sagemaker = account.acting(caller)("sagemaker")
    request = {
        "TrainingJobName": account.name("job"), "RoleArn": role, "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "OutputDataConfig": {"S3OutputPath": f"s3://{bucket}/out"}, "ResourceConfig": RUNTIME, "StoppingCondition": {"MaxRuntimeInSeconds": 60},
    }  # fmt: skip
    refused("AccessDeniedException", f"iam:PassRole on resource: {role}", lambda: sagemaker.create_training_job(**request))


def test_no_input_or_no_right_to_list_it_is_refused_at_once(account, bucket, role):
    # wording as users of AWS quote it, no page has it
    told = f'No S3 objects found under S3 URL "s3://{bucket}/none" given in input data source.'
    refused("ValidationException", told, lambda: Training(account, bucket, role, InputDataConfig=[channel("c", f"s3://{bucket}/none")]))
    put(account, bucket, x="1")
    poor = account.role("sagemaker.amazonaws.com", PULL, LOGS)
    told = f'that the role "{poor}" has "s3:ListBucket" permissions on bucket "{bucket}"'
    refused("ValidationException", told, lambda: Training(account, bucket, poor, InputDataConfig=[channel("c", f"s3://{bucket}/x")]))


def test_a_role_without_rights_to_the_data_fails_the_job(account, bucket):
    # "ClientError: Data download failed:…" and "ClientError: Artifact upload failed:…", as users of AWS quote them
    put(account, bucket, x="1")
    bucket_arn = f"arn:aws:s3:::{bucket}"
    reader = account.role("sagemaker.amazonaws.com", PULL, LOGS, allow("s3:ListBucket", bucket_arn))
    done = Training(account, bucket, reader, InputDataConfig=[channel("c", f"s3://{bucket}/x")]).ended()
    assert done["TrainingJobStatus"] == "Failed"
    assert done["FailureReason"].startswith("ClientError: Data download failed:")
    account.grant(reader, allow("s3:GetObject", f"{bucket_arn}/*"))
    done = Training(account, bucket, reader, InputDataConfig=[channel("c", f"s3://{bucket}/x")]).ended()
    assert done["FailureReason"].startswith("ClientError: Artifact upload failed:")
    account.grant(reader, allow("s3:PutObject", f"{bucket_arn}/out/*"))
    assert Training(account, bucket, reader, InputDataConfig=[channel("c", f"s3://{bucket}/x")]).ended()["TrainingJobStatus"] == "Completed"


def test_an_image_that_cannot_be_pulled_fails_the_job(account, bucket):
    # what pulling needs: docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html#sagemaker-roles-createtrainingjob-perms
    done = Training(account, bucket, account.role("sagemaker.amazonaws.com", LOGS, allow("s3:*", "*"))).ended()
    assert done["TrainingJobStatus"] == "Failed"
    assert IMAGE in done["FailureReason"]
    assert "ecr:BatchGetImage" in done["FailureReason"]


# Events: docs.aws.amazon.com/sagemaker/latest/dg/automating-sagemaker-with-eventbridge.html


def test_every_change_of_a_training_job_is_an_event(account, bucket, role):
    name = account.name("job")
    url = watch(account, "SageMaker Training Job State Change", TrainingJobName=name)
    tags = [{"Key": "k", "Value": "v"}]
    job = Training(account, bucket, role, TrainingJobName=name, HyperParameters={"fail": "no"}, Tags=tags)
    job.ended()
    events = [json.loads(message["Body"]) for message in account.messages(url, 4)]
    assert {(e["detail"]["TrainingJobStatus"], e["detail"]["SecondaryStatus"]) for e in events} == {
        ("InProgress", "Starting"), ("InProgress", "Downloading"), ("InProgress", "Training"), ("Failed", "Failed"),
    }  # fmt: skip
    failed = next(e for e in events if e["detail"]["TrainingJobStatus"] == "Failed")
    assert failed["resources"] == [job.arn]
    detail = failed["detail"]
    assert detail["FailureReason"] == "AlgorithmError: no, exit code: 1"
    assert detail["HyperParameters"] == {"fail": "no"}
    assert detail["Tags"] == {"k": "v"}
    assert detail["TrainingEndTime"] > 1_600_000_000_000  # epoch milliseconds
    assert [t["Status"] for t in detail["SecondaryStatusTransitions"]] == ["Starting", "Downloading", "Training", "Failed"]
