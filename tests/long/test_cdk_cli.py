"""The real CDK CLI against localcloud, a life long: bootstrap, deploy, again, update, a failed update, destroy. Nothing is left.

One test, because each step stands on the one before.
"""

import os
import subprocess
from pathlib import Path

import psutil
import pytest

from localcloud import ACCOUNT, REGION
from localcloud.cloud import LocalCloud
from localcloud.config import load_config
from localcloud.faults import Fault
from tests.cloud.conftest import Deployment, synth, until
from tidemill.cli.flights import month_csv

pytestmark = [pytest.mark.long, pytest.mark.timeout(1500)]

ROOT = Path(__file__).resolve().parents[2]
ASSETS = f"cdk-hnb659fds-assets-{ACCOUNT}-{REGION}"


class Cli:
    """`cdk` with this localcloud as its AWS."""

    def __init__(self, cloud: LocalCloud) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        more = {"CDK_DISABLE_VERSION_CHECK": "1", "CI": "true", "NO_COLOR": "1", "JSII_SILENCE_WARNING_END_OF_LIFE_NODE_VERSION": "20"}
        self._env = kept | cloud.clients.account_environment() | more

    def __call__(self, *arguments: str, fails: bool = False) -> str:
        argv = [str(ROOT / "node_modules/.bin/cdk"), *arguments]
        done = subprocess.run(argv, cwd=ROOT, env=self._env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert (done.returncode != 0) == fails, done.stdout
        return done.stdout

    def deploy(self, assembly: Path, fails: bool = False) -> str:
        return self("deploy", "--all", "--app", str(assembly), "--require-approval", "never", "--progress", "events", fails=fails)


def stack(cloud: LocalCloud, name: str) -> dict:
    return cloud.clients("cloudformation").describe_stacks(StackName=name)["Stacks"][0]


def subscribers(cloud: LocalCloud) -> list[str]:
    return [subscription["Endpoint"] for subscription in cloud.clients("sns").list_subscriptions()["Subscriptions"]]


def test_a_life_with_the_cdk_cli(tmp_path):
    first = synth(tmp_path / "first")
    second, third = (synth(tmp_path / name, email=f"{name}@example.com") for name in ("second", "third"))
    with LocalCloud(load_config(ROOT / "localcloud.toml")) as cloud:
        cdk = Cli(cloud)
        cdk("bootstrap", "--app", "", f"aws://{ACCOUNT}/{REGION}")
        cdk.deploy(first)
        names = [s["StackName"] for s in cloud.clients("cloudformation").describe_stacks()["Stacks"] if s["StackName"] != "CDKToolkit"]
        assert {stack(cloud, name)["StackStatus"] for name in names} == {"CREATE_COMPLETE"}
        assert len(names) == 6

        assert cdk.deploy(first).count("(no changes)") == 6
        assert "There were no differences" in cdk("diff", "--app", str(first))

        assert "AWS::SNS::Subscription" in cdk("diff", "--app", str(second))
        cdk.deploy(second)
        assert stack(cloud, "tidemill-local-data")["StackStatus"] == "UPDATE_COMPLETE"
        assert subscribers(cloud) == ["second@example.com"]

        cloud.faults.set(Fault("sns:Subscribe", "fail", caller="cdk-*-cfn-exec-role-*"))
        assert "injected: sns:Subscribe" in cdk.deploy(third, fails=True)
        cloud.faults.set()
        assert stack(cloud, "tidemill-local-data")["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
        assert subscribers(cloud) == ["second@example.com"]
        events = cloud.clients("cloudformation").describe_stack_events(StackName="tidemill-local-data")["StackEvents"]
        assert any(e["ResourceType"] == "AWS::SNS::Subscription" and e["ResourceStatus"] == "CREATE_FAILED" for e in events)

        outputs = {o["OutputKey"]: o["OutputValue"] for name in names for o in stack(cloud, name).get("Outputs", [])}
        stage = Deployment(cloud, outputs)
        stage.learn("flights/data/2013-01.csv", month_csv(1))
        assert stage.finished("ReleaseMachine", 1)["status"] == "SUCCEEDED"
        assert cloud.running

        cdk("destroy", "--all", "--force", "--app", str(second))
        assert cloud.recorder.denied() == []
        left(cloud)
        folder, processes = cloud.folder, psutil.Process().children(recursive=True)
        assert folder.exists()
    assert not folder.exists()
    assert [process for process in processes if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []


def left(cloud: LocalCloud) -> None:
    """Only what `cdk bootstrap` made is still there."""
    until(lambda: not cloud.running)
    assert [s["StackName"] for s in cloud.clients("cloudformation").describe_stacks()["Stacks"]] == ["CDKToolkit"]
    assert [b["Name"] for b in cloud.clients("s3").list_buckets()["Buckets"]] == [ASSETS]
    assert cloud.clients("sqs").list_queues().get("QueueUrls", []) == []
    assert cloud.clients("sns").list_topics()["Topics"] == []
    assert cloud.clients("dynamodb").list_tables()["TableNames"] == []
    assert cloud.clients("lambda").list_functions()["Functions"] == []
    assert cloud.clients("stepfunctions").list_state_machines()["stateMachines"] == []
    assert cloud.clients("events").list_rules()["Rules"] == []
    assert cloud.clients("cloudwatch").describe_alarms()["MetricAlarms"] == []
    repositories = [r["repositoryName"] for r in cloud.clients("ecr").describe_repositories()["repositories"]]
    assert [name for name in repositories if not name.startswith("cdk-")] == []
    assert [r["RoleName"] for r in cloud.clients("iam").list_roles()["Roles"] if not r["RoleName"].startswith("cdk-")] == []
    assert cloud.clients("glue").get_databases()["DatabaseList"] == []
    assert cloud.clients("glue").list_jobs()["JobNames"] == []
    sagemaker = cloud.clients("sagemaker")
    assert sagemaker.list_endpoints()["Endpoints"] + sagemaker.list_endpoint_configs()["EndpointConfigs"] + sagemaker.list_models()["Models"] == []
    assert sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []
