"""Training jobs of several instances: each container its own /opt/ml and log, peers that reach each other, one end for all."""

import json
import threading

import pytest

from localcloud.sagemaker.cluster import Host, hosts, together
from localcloud.sagemaker.container import Interrupted
from tests.conformance.conftest import until
from tests.conformance.jobs import EVERYTHING, RUNTIME, Training, channel, put

FIRST, SECOND = "127.0.0.1", "127.0.0.2"


@pytest.fixture
def role(account):
    return account.role("sagemaker.amazonaws.com", EVERYTHING)


def cluster(account, bucket, role, *, first=None, second=None, common=None, **settings):
    """A job of two instances; what each is to do."""
    wanted = (common or {}) | {FIRST: json.dumps(first or {}), SECOND: json.dumps(second or {})}
    return Training(account, bucket, role, HyperParameters=wanted, ResourceConfig=RUNTIME | {"InstanceCount": 2}, **settings)


def log(job, host):
    job.account.cloud.logs.flush()
    logs = job.account.client("logs")
    name = {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamName": f"{job.name}/{host}"}
    try:
        return [event["message"] for event in logs.get_log_events(**name)["events"]]
    except logs.exceptions.ResourceNotFoundException:
        return []


def test_each_instance_knows_its_peers_reaches_them_and_gets_all_the_data(account, bucket, role):
    put(account, bucket, in__a="1", in__b="2")
    job = cluster(
        account, bucket, role, common={"meet": "1"}, first={"model": "one.json"}, second={"model": "two.json"},
        InputDataConfig=[channel("rows", f"s3://{bucket}/in")],
    )  # fmt: skip
    assert job.ended()["TrainingJobStatus"] == "Completed"
    found = {name: json.loads(text) for name, text in job.archive().items()}
    assert set(found) == {"one.json", "two.json"}  # what they left in /opt/ml/model is one archive
    for name, me in (("one.json", FIRST), ("two.json", SECOND)):
        told = found[name]["config"]["resourceconfig"]
        assert (told["current_host"], told["hosts"], told["current_instance_type"]) == (me, [FIRST, SECOND], "ml.m5.large")
        assert {"input/data/rows/a", "input/data/rows/b"} <= set(found[name]["seen"])
    assert [f"met {SECOND}" in log(job, "algo-1"), f"met {FIRST}" in log(job, "algo-2")] == [True, True]


def test_of_two_files_with_one_name_the_first_instances_is_kept(account, bucket, role):
    job = cluster(account, bucket, role)
    job.ended()
    assert json.loads(job.archive()["model.json"])["config"]["resourceconfig"]["current_host"] == FIRST


@pytest.mark.parametrize("failing", ["first", "second"])
def test_one_that_fails_ends_the_job_with_its_reason_and_the_other_at_once(account, bucket, role, failing):
    asked = {"first": {"sleep_s": "60"}, "second": {"sleep_s": "60"}} | {failing: {"fail": f"the {failing} one could not", "exit": "3"}}
    ended = cluster(account, bucket, role, **asked).ended()
    assert ended["TrainingJobStatus"] == "Failed"
    assert ended["FailureReason"] == f"AlgorithmError: the {failing} one could not, exit code: 3"
    assert not [pid for pid in account.cloud.running if _is_container(pid)]


def _is_container(pid):
    import psutil

    try:
        return "container.py" in " ".join(psutil.Process(pid).cmdline()) and "train" in psutil.Process(pid).cmdline()
    except psutil.Error:
        return False


def test_an_instance_that_was_taken_away_is_no_failure_of_its_peer(tmp_path):
    """The peer may die of the same signal, and be seen first."""

    def run(host: Host, failed: threading.Event) -> int:
        if host.name == "algo-2":
            return 1
        failed.wait(10)
        raise Interrupted

    with pytest.raises(Interrupted):
        together(hosts(2, tmp_path), run, lambda: False)


def test_a_stop_lets_each_save_its_own(account, bucket, role):
    job = cluster(account, bucket, role, common={"sleep_s": "60"}, first={"on_term": "the first's"}, second={"on_term": "the second's"})
    until(lambda: all("loss=0.25; accuracy=0.5;" in log(job, host) for host in ("algo-1", "algo-2")))
    job.sagemaker.stop_training_job(TrainingJobName=job.name)
    assert job.ended()["TrainingJobStatus"] == "Stopped"
    assert job.archive() == {"saved": "the first's"}


def test_spot_capacity_goes_and_comes_for_all_of_them(account, bucket, role):
    job = cluster(
        account, bucket, role, common={"interrupted": "1"}, EnableManagedSpotTraining=True, CheckpointConfig={"S3Uri": f"s3://{bucket}/ck"},
        StoppingCondition={"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 3600},
    )  # fmt: skip
    until(lambda: all("start 1" in log(job, host) for host in ("algo-1", "algo-2")))
    account.cloud.interrupt(job.name)
    assert job.ended()["TrainingJobStatus"] == "Completed"
    assert [log(job, host)[-1] for host in ("algo-1", "algo-2")] == ["start 2", "start 2"]
