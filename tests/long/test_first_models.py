"""Models that nobody tuned: specs by `tidemill new` alone, from a CSV to a live endpoint; and a first release that goes wrong."""

import json

import polars as pl
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from typer.testing import CliRunner

from localcloud.cloud import LocalCloud
from localcloud.cloudformation.assembly import deploy
from localcloud.config import load_config
from tests.cloud.conftest import ROOT, Deployment, ringing, synth, until
from tidemill.cli.flights import month_csv
from tidemill.cli.main import app
from tidemill.evaluate.record import Evaluation
from tidemill.spec import load_spec

pytestmark = [pytest.mark.long, pytest.mark.cloud, pytest.mark.timeout(900)]

EXAMPLES = {"tumours": load_breast_cancer, "wines": load_wine, "diabetes": load_diabetes}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """models/ as the commands wrote it, the files beside them, and flights under another name."""
    root = tmp_path_factory.mktemp("first")
    for name, load in EXAMPLES.items():
        load(as_frame=True).frame.to_csv(root / f"{name}.csv", index_label="sample")
        arguments = ["new", name, "--from", str(root / f"{name}.csv"), "--label", "target", "--models", str(root / "models")]
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
    (root / "models/delays").mkdir()
    text = (ROOT / "models/flights/model.toml").read_text()
    (root / "models/delays/model.toml").write_text(
        text.replace('name = "flights"', 'name = "delays"').replace('approve = "auto"', 'approve = "person"')
    )
    return root


@pytest.fixture(scope="module")
def stage(folder, tmp_path_factory):
    assembly = synth(tmp_path_factory.mktemp("cdk"), models=str(folder / "models"))
    with LocalCloud(load_config(ROOT / "localcloud.toml")) as cloud:
        outputs = deploy(assembly, cloud.clients)
        yield Deployment(cloud, {key: value for stack in outputs.values() for key, value in stack.items()})


def subscribed(stage):
    """All that the alerts topic has told so far, through a queue."""
    sqs, sns, seen = stage.client("sqs"), stage.client("sns"), []
    url = sqs.create_queue(QueueName="letters")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allowed = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps({"Version": "2012-10-17", "Statement": [allowed]})})
    sns.subscribe(TopicArn=stage.outputs["AlertsTopic"], Protocol="sqs", Endpoint=arn)

    def letters() -> list[str]:
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            seen.append(message["Body"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return seen

    return letters


def test_a_first_release_that_a_person_approved_and_whose_alarm_rings_leaves_no_endpoint(stage, monkeypatch):
    """There is no champion to bring back: what was made is taken away again, and the package is Rejected with the reason."""
    cloudwatch = stage.client("cloudwatch")
    alarm = next(a["AlarmName"] for a in cloudwatch.describe_alarms()["MetricAlarms"] if "DelaysErrors" in a["AlarmName"])
    letters = subscribed(stage)
    stage.learn("delays/data/2013-01.csv", month_csv(1))
    run = stage.ledger.run("delays", 1)
    assert run.decision == "promote", run.reasons
    told = until(lambda: [text for text in letters() if "delays/1 waits for approval" in text])
    assert "tidemill approve delays 1 --stage local" in told[0]
    for name, value in stage.cloud.clients.account_environment().items():
        monkeypatch.setenv(name, value)
    with ringing(cloudwatch, alarm):
        done = CliRunner().invoke(app, ["approve", "delays", "1", "--stage", "local", "--reason", "looks right"])
        assert done.exit_code == 0, done.output
        ended = stage.finished("ReleaseMachine", 1)
    assert (ended["status"], ended["error"]) == ("FAILED", "AlarmsRang")
    assert stage.ledger.champion("delays") is None
    assert stage.ledger.release("delays", 1).outcome == "restored"
    until(lambda: stage.client("sagemaker").list_endpoints(NameContains="delays")["Endpoints"] == [])
    described = stage.client("sagemaker").describe_model_package(ModelPackageName=stage.ledger.package("delays", 1).arn)
    assert described["ModelApprovalStatus"] == "Rejected"
    assert alarm in described["ApprovalDescription"]
    assert [str(record) for record in stage.cloud.recorder.denied()] == []


@pytest.mark.parametrize(("name", "answer"), [("tumours", {"score", "label"}), ("wines", {"label", "scores"}), ("diabetes", {"value"})])
def test_a_csv_and_its_draft_become_a_live_endpoint(stage, folder, name, answer):
    releases = stage.runs("ReleaseMachine") + 1
    data = (folder / f"{name}.csv").read_bytes()
    assert stage.learn(f"{name}/data/{name}.csv", data)["status"] == "SUCCEEDED"
    run = stage.ledger.run(name, 1)
    assert (run.decision, run.outcome, run.package) == ("promote", "registered", f"{name}/1"), run.reasons
    assert stage.finished("ReleaseMachine", releases)["status"] == "SUCCEEDED"
    spec = load_spec(folder / "models" / name / "model.toml")
    evaluation = Evaluation.model_validate_json(stage.lake(run.evaluation))
    golden = evaluation.golden[0]
    found, named = stage.predict(json.dumps({"instances": [golden.instance]}).encode(), endpoint=f"Endpoint{name.title()}")
    assert named == f"{name}/1"
    prediction = json.loads(found)["predictions"][0]
    assert prediction.keys() == answer
    assert prediction == pytest.approx(golden.answer) if name != "wines" else prediction["label"] == golden.answer["label"]
    lines = pl.DataFrame([golden.instance]).select(spec.features).write_csv(include_header=False)
    csv, _ = stage.predict(lines.encode(), "text/csv", "text/csv", endpoint=f"Endpoint{name.title()}")
    assert len(csv.decode().splitlines()) == 1
    assert [str(record) for record in stage.cloud.recorder.denied()] == []
