"""Managed spot training, checkpoints, warm pools and preferred instances of SageMaker training jobs, as the developer guide describes them."""

import pytest

from tests.conformance.conftest import allow, until
from tests.conformance.jobs import EVERYTHING, LOGS, PULL, RUNTIME, Training, put, refused

SPOT = {"EnableManagedSpotTraining": True, "StoppingCondition": {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 3600}}


@pytest.fixture
def role(account):
    return account.role("sagemaker.amazonaws.com", EVERYTHING)


class Spot(Training):
    """A spot training job that counts its starts in a checkpoint and waits to be interrupted in the first `interrupted` of them."""

    def __init__(self, account, bucket, role, interrupted=1, hyperparameters=None, **settings):
        wanted = {"interrupted": str(interrupted)} | (hyperparameters or {})
        settings = SPOT | {"CheckpointConfig": {"S3Uri": f"s3://{bucket}/ck"}} | settings
        super().__init__(account, bucket, role, HyperParameters=wanted, **settings)

    def started(self, number):
        """Waits until the container has started for the `number`th time and has written its checkpoint."""
        line = f"start {number}"
        until(lambda: line in self.log())

    def log(self):
        self.account.cloud.logs.flush()
        logs = self.account.client("logs")
        try:
            events = logs.get_log_events(logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=f"{self.name}/algo-1")["events"]
        except logs.exceptions.ResourceNotFoundException:
            return []
        return [event["message"] for event in events]

    def statuses(self):
        return [transition["Status"] for transition in self.describe()["SecondaryStatusTransitions"]]


def content(account, bucket, key):
    found = account.client("s3").list_objects_v2(Bucket=bucket, Prefix=key)
    return account.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode() if found["KeyCount"] else None


# Spot: docs.aws.amazon.com/sagemaker/latest/dg/model-managed-spot-training.html


def test_an_interrupted_job_starts_again_with_its_checkpoints(account, bucket, role):
    job = Spot(account, bucket, role, interrupted=2)
    for number in (1, 2):
        job.started(number)
        account.cloud.interrupt(job.name)
    done = job.ended()
    assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Completed", "Completed")
    again = ["Interrupted", "Starting", "Downloading", "Training"]
    assert job.statuses() == ["Starting", "Downloading", "Training", *again, *again, "Uploading", "Completed"]
    assert content(account, bucket, "ck/starts") == "3"
    assert set(job.archive()) == {"model.json"}
    assert done["EnableManagedSpotTraining"] is True


def test_without_checkpoints_it_starts_from_the_beginning(account, bucket, role):
    job = Spot(account, bucket, role, CheckpointConfig={"S3Uri": f"s3://{bucket}/empty"}, hyperparameters={"checkpoints": "output/data"})
    job.started(1)
    account.cloud.interrupt(job.name)
    until(lambda: job.log().count("start 1") == 2)  # another instance, another disk
    job.sagemaker.stop_training_job(TrainingJobName=job.name)
    assert job.ended()["TrainingJobStatus"] == "Stopped"


def test_a_container_that_does_not_listen_is_killed_after_the_grace(account, bucket, role):
    job = Spot(account, bucket, role, hyperparameters={"deaf": "1"})
    job.started(1)
    account.cloud.interrupt(job.name, grace_s=0.2)
    assert job.ended()["TrainingJobStatus"] == "Completed"
    assert "Interrupted" in job.statuses()
    assert content(account, bucket, "ck/starts") == "2"


def test_a_job_waits_for_capacity_by_the_clock(account, bucket, role):
    job = Spot(account, bucket, role)
    job.started(1)
    account.cloud.interrupt(job.name, away_s=1000)
    until(lambda: job.describe()["SecondaryStatus"] == "Interrupted")
    account.cloud.clock.advance(990)
    assert job.describe()["SecondaryStatus"] == "Interrupted"
    account.cloud.clock.advance(11)
    done = job.ended()
    assert done["TrainingJobStatus"] == "Completed"
    assert (done["TrainingEndTime"] - done["TrainingStartTime"]).total_seconds() >= 1000
    assert done["TrainingTimeInSeconds"] < 100  # waiting is no training


def test_a_job_that_waits_too_long_is_stopped(account, bucket, role):
    # SecondaryStatus MaxWaitTimeExceeded: API_DescribeTrainingJob.html
    job = Spot(account, bucket, role)
    job.started(1)
    account.cloud.interrupt(job.name, away_s=100_000)
    until(lambda: job.describe()["SecondaryStatus"] == "Interrupted")
    account.cloud.clock.advance(3601)
    done = job.ended()
    assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Stopped", "MaxWaitTimeExceeded")
    assert "exceeded MaxWaitTimeInSeconds" in done["SecondaryStatusTransitions"][-1]["StatusMessage"]


def test_a_job_that_waits_for_capacity_can_be_stopped(account, bucket, role):
    job = Spot(account, bucket, role)
    job.started(1)
    account.cloud.interrupt(job.name, away_s=1000)
    until(lambda: job.describe()["SecondaryStatus"] == "Interrupted")
    job.sagemaker.stop_training_job(TrainingJobName=job.name)
    done = job.ended()
    assert (done["TrainingJobStatus"], done["SecondaryStatus"]) == ("Stopped", "Stopped")


def test_spot_seconds_cost_less(account, bucket, role):
    # API_DescribeTrainingJob.html: savings are (1 - BillableTimeInSeconds / TrainingTimeInSeconds) * 100
    job = Spot(account, bucket, role)
    job.started(1)
    account.cloud.clock.advance(100)
    account.cloud.interrupt(job.name)
    done = job.ended()
    assert done["TrainingTimeInSeconds"] >= 100
    assert 0.25 < done["BillableTimeInSeconds"] / done["TrainingTimeInSeconds"] < 0.35
    done = Training(account, bucket, role).ended()
    assert done["BillableTimeInSeconds"] == done["TrainingTimeInSeconds"]


def test_only_a_spot_job_that_trains_is_interrupted(account, bucket, role):
    job = Training(account, bucket, role, HyperParameters={"sleep_s": "60"})
    until(lambda: job.describe()["SecondaryStatus"] == "Training")
    with pytest.raises(ValueError, match=f"cannot interrupt {job.name}: only a job with EnableManagedSpotTraining"):
        account.cloud.interrupt(job.name)
    job.sagemaker.stop_training_job(TrainingJobName=job.name)
    with pytest.raises(ValueError, match="no such job"):
        account.cloud.interrupt("none")
    job.ended()


# Checkpoints: docs.aws.amazon.com/sagemaker/latest/dg/model-checkpoints.html


def test_checkpoints_are_in_s3_while_the_job_runs(account, bucket, role):
    job = Spot(account, bucket, role)
    until(lambda: content(account, bucket, "ck/starts") == "1")
    assert job.describe()["TrainingJobStatus"] == "InProgress"
    job.sagemaker.stop_training_job(TrainingJobName=job.name)
    job.ended()


def test_a_new_job_goes_on_from_the_checkpoints_of_another(account, bucket, role):
    # "run a new estimator with the same checkpoint_s3_uri"; a key that only begins like it is not below it
    put(account, bucket, **{"ck/starts": "4", "ckstarts": "9"})
    config = {"S3Uri": f"s3://{bucket}/ck/", "LocalPath": "/opt/ml/my/saved"}
    wanted = {"interrupted": "0", "checkpoints": "my/saved"}
    job = Training(account, bucket, role, CheckpointConfig=config, HyperParameters=wanted)
    assert job.ended()["TrainingJobStatus"] == "Completed"
    assert content(account, bucket, "ck/starts") == "5"


def test_a_role_without_rights_to_the_checkpoints_fails_the_job(account, bucket):
    bucket_arn = f"arn:aws:s3:::{bucket}"
    role = account.role("sagemaker.amazonaws.com", PULL, LOGS, allow("s3:PutObject", f"{bucket_arn}/out/*"))
    settings = {"CheckpointConfig": {"S3Uri": f"s3://{bucket}/ck"}, "HyperParameters": {"interrupted": "0"}}
    done = Training(account, bucket, role, **settings).ended()
    assert done["FailureReason"].startswith("ClientError: Data download failed:")
    account.grant(role, allow("s3:ListBucket", bucket_arn))
    done = Training(account, bucket, role, **settings).ended()
    assert done["FailureReason"].startswith(f"ClientError: Artifact upload failed:s3://{bucket}/ck/starts")


# Warm pools: docs.aws.amazon.com/sagemaker/latest/dg/train-warm-pools.html


def warm(account, bucket, role, seconds=600, **settings):
    return Training(account, bucket, role, ResourceConfig=RUNTIME | ({"KeepAlivePeriodInSeconds": seconds} if seconds else {}), **settings)


def test_the_next_matching_job_takes_the_warm_pool(account, bucket, role):
    first = warm(account, bucket, role)
    assert first.ended()["WarmPoolStatus"] == {"Status": "Available"}
    account.cloud.clock.advance(100)
    second = warm(account, bucket, role, HyperParameters={"sleep_s": "60"})
    assert second.describe()["WarmPoolStatus"] == {"Status": "InUse"}
    status = first.describe()["WarmPoolStatus"]
    assert (status["Status"], status["ReusedByJob"]) == ("Reused", second.name)
    assert 100 <= status["ResourceRetainedBillableTimeInSeconds"] < 150
    listed = second.sagemaker.list_training_jobs(WarmPoolStatusEquals="InUse")["TrainingJobSummaries"]
    assert [one["TrainingJobName"] for one in listed] == [second.name]
    second.sagemaker.stop_training_job(TrainingJobName=second.name)
    assert second.ended()["WarmPoolStatus"]["Status"] == "Available"  # "if you stop a training job … a warm pool is still retained"
    assert warm(account, bucket, role, seconds=0).ended()["WarmPoolStatus"]["Status"] == "Terminated"
    assert second.describe()["WarmPoolStatus"]["Status"] == "Reused"


def test_a_job_that_asks_for_something_else_does_not_take_it(account, bucket, role):
    first = warm(account, bucket, role, HyperParameters={"fail": "x"})
    assert first.ended()["WarmPoolStatus"]["Status"] == "Available"  # "fails due to an algorithm or client error"
    others = [
        warm(account, bucket, account.role("sagemaker.amazonaws.com", EVERYTHING)), warm(account, bucket, role, EnableNetworkIsolation=True),
        Training(account, bucket, role, ResourceConfig=RUNTIME | {"VolumeSizeInGB": 9}),
        Training(account, bucket, role, ResourceConfig=RUNTIME | {"InstanceType": "ml.m5.xlarge"}), Training(account, bucket, role, **SPOT),
    ]  # fmt: skip
    for other in others:
        assert other.ended().get("WarmPoolStatus", {"Status": "Available"})["Status"] == "Available"
    assert first.describe()["WarmPoolStatus"]["Status"] == "Available"
    account.cloud.clock.advance(601)
    status = until(lambda: (found := first.describe()["WarmPoolStatus"])["Status"] == "Terminated" and found)
    assert status["ResourceRetainedBillableTimeInSeconds"] >= 600


# Preferences: docs.aws.amazon.com/sagemaker/latest/APIReference/API_ResourceConfig.html


def preferred(*types, count=None, **more):
    preferences = [{"InstanceType": one} | ({"InstanceCount": count} if count else {}) for one in types]
    return {"ResourceConfig": {"VolumeSizeInGB": 5, "InstancePreferences": preferences} | more}


def test_the_first_preferred_instance_is_selected(account, bucket, role):
    for settings in (preferred("ml.m5.large", "ml.m5.xlarge", InstanceCount=1), preferred("ml.m5.large", "ml.m5.xlarge", count=1)):
        config = Training(account, bucket, role, **settings).ended()["ResourceConfig"]
        assert (config["SelectedInstanceType"], config["SelectedInstanceCount"]) == ("ml.m5.large", 1)
        assert [one["InstanceType"] for one in config["InstancePreferences"]] == ["ml.m5.large", "ml.m5.xlarge"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"EnableManagedSpotTraining": True}, "must be present and be greater than or equal to MaxRuntimeInSeconds"),
        (SPOT | {"StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 8}}, "greater than or equal to MaxRuntimeInSeconds"),
        ({"StoppingCondition": {"MaxRuntimeInSeconds": 9, "MaxWaitTimeInSeconds": 9}}, "Invalid MaxWaitTimeInSeconds"),
        (SPOT | {"ResourceConfig": RUNTIME | {"KeepAlivePeriodInSeconds": 60}}, "KeepAlivePeriodInSeconds cannot be used"),
        (preferred("ml.m5.large", "ml.m5.large", count=1), "appear only once"),
        (preferred("ml.m5.large"), "InstanceCount must be set"),
        (preferred("ml.m5.large", count=1, InstanceCount=1), "InstanceCount must be set"),
        (preferred("ml.m5.large", count=1, InstanceType="ml.m5.large"), "mutually exclusive"),
        (preferred("ml.m5.large", count=1) | SPOT, "InstancePreferences and EnableManagedSpotTraining are mutually exclusive"),
        ({"ResourceConfig": {"VolumeSizeInGB": 5}}, "needs InstanceType and InstanceCount"),
    ],
)  # fmt: skip
def test_demands_that_contradict_each_other_are_refused(account, bucket, role, settings, told):
    refused("ValidationException", told, lambda: Training(account, bucket, role, **settings))


def test_instances_of_a_training_plan_are_refused_by_name(account, bucket, role):
    plan = {"InstanceType": "ml.m5.large", "InstanceCount": 1, "TrainingPlanArns": ["arn:aws:sagemaker:us-east-1:123456789012:training-plan/p"]}
    config = {"ResourceConfig": {"InstancePreferences": [plan]}}
    refused("NotSupportedByLocalcloud", "InstancePreferences.TrainingPlanArns", lambda: Training(account, bucket, role, **config))
