"""Runs that are stopped, killed or robbed of their end on localcloud: nothing is lost, nobody keeps the lease.

The uploads after the first hold the same rows, so that their runs end as nothing_new: what is looked at is who ran, not what was learned.
"""

import json

import pytest
from typer.testing import CliRunner

from localcloud.faults import Fault
from tests.cloud.conftest import Deployment, until
from tidemill.adapters.queues import DeadLetters
from tidemill.cli.flights import month_csv
from tidemill.cli.main import app

pytestmark = [pytest.mark.cloud]

PREPARE, FINISH, START = "*PrepareFunction*", "*FinishFunction*", "*StartFunction*"


@pytest.fixture(scope="module")
def rows() -> bytes:
    """Every 30th flight of January: enough for data.min_rows, on every day of the month."""
    header, *lines = month_csv(1).splitlines(keepends=True)
    return header + b"".join(lines[::30])


@pytest.fixture(scope="module")
def learned(stage: Deployment, rows) -> None:
    assert stage.learn("flights/data/base.csv", rows)["status"] == "SUCCEEDED"


@pytest.fixture
def faults(stage: Deployment, learned):
    """Sets faults, once no run of the test before is left for them to hit."""
    until(lambda: stage.ledger.lease("flights").owner is None)
    yield stage.cloud.faults.set
    stage.cloud.faults.set()


def upload_of(stage: Deployment, name: str):
    return next((u for u in stage.ledger.uploads("flights") if u.key == f"flights/data/{name}"), None)


def settled(stage: Deployment, name: str, state: str, step_s: float = 30):
    """The upload once it is in a state, by a clock that is moved on until it is."""

    def look():
        if (found := upload_of(stage, name)) is not None and found.state == state:
            return found
        if stage.ledger.lease("flights").owner is None:
            stage.cloud.clock.advance(step_s)
        return None

    return until(look)


def test_duplicate_events_make_one_upload_and_one_run(stage, faults, rows):
    faults(Fault("deliver:Object Created", "duplicate", seconds=0.2))
    runs = stage.runs("TrainingMachine")
    stage.upload("flights/data/twice.csv", rows)
    stage.finished("TrainingMachine", runs + 1)
    found = [u for u in stage.ledger.uploads("flights") if u.key == "flights/data/twice.csv"]
    assert [(u.state, u.attempts) for u in found] == [("prepared", 1)]
    assert found[0].sequencer
    assert stage.ledger.run("flights", found[0].epoch).outcome == "nothing_new"
    assert stage.runs("TrainingMachine") == runs + 1


def test_a_run_that_is_stopped_gives_its_upload_back_and_its_function_that_wakes_up_late_changes_nothing(stage, faults, rows):
    """prepare hangs in its first call, the execution is stopped, swept by its event; then prepare goes on."""
    faults(Fault("s3:GetObject", "delay", caller=PREPARE, seconds=600, times=1))
    stepfunctions, number = stage.client("stepfunctions"), stage.runs("TrainingMachine") + 1
    stage.upload("flights/data/stopped.csv", rows)
    until(lambda: stage.cloud.faults.strikes() == 1)
    execution = stage.ledger.lease("flights").owner
    stepfunctions.stop_execution(executionArn=execution, error="Stopped", cause="by a person")
    until(lambda: stage.ledger.lease("flights").owner is None)
    epoch = stage.ledger.lease("flights").epoch
    given_back = upload_of(stage, "stopped.csv")
    assert (given_back.state, given_back.attempts, given_back.epoch) == ("pending", 1, None)
    run = stage.ledger.run("flights", epoch)
    assert (run.outcome, run.reasons) == ("failed", ("Execution: ABORTED: Stopped: by a person",))
    stage.cloud.clock.advance(60)
    assert stage.finished("TrainingMachine", number + 1)["status"] == "SUCCEEDED"
    done = upload_of(stage, "stopped.csv")
    assert (done.state, done.attempts, done.epoch) == ("prepared", 2, epoch + 1)
    stage.cloud.clock.advance(600)
    until(lambda: "epoch" in stage.log_lines("Prepare") and "is over, nothing was written" in stage.log_lines("Prepare"))
    assert upload_of(stage, "stopped.csv") == done


def test_what_kills_prepare_three_times_is_parked_with_an_alarm_and_what_lies_beside_it_is_prepared(stage, faults, rows):
    faults(Fault("s3:GetObject", "kill", caller=PREPARE, times=1))
    number = stage.runs("TrainingMachine") + 1
    for name in ("one.csv", "other.csv"):
        stage.upload(f"flights/data/{name}", rows)
    until(lambda: stage.cloud.faults.strikes() == 1)
    faults(Fault("stepfunctions:StartExecution", "throttle", caller=START))  # an upload's own tick may still come: no next run before the look below
    ended = stage.finished("TrainingMachine", number)
    assert (ended["status"], json.loads(ended["input"])["cause"]) == ("FAILED", "upload")
    until(lambda: stage.ledger.lease("flights").owner is None)
    states = {name: upload_of(stage, name).state for name in ("one.csv", "other.csv")}
    assert sorted(states.values()) == ["pending", "prepared"]
    victim = min(states, key=lambda name: states[name])
    faults(Fault("s3:GetObject", "kill", caller=PREPARE))
    parked = settled(stage, victim, "parked")
    assert parked.attempts == 3
    assert "not prepared in 3 attempts" in parked.reason
    assert "PrepareBin" in parked.reason
    assert stage.runs("TrainingMachine") == number + 2
    assert [e.subject for e in stage.ledger.decisions("flights") if e.decision == "park"] == [parked.key]
    until(lambda: stage.cloud.clock.advance(60) or "UploadsParked" in ringing(stage))
    stage.cloud.faults.set()
    answer = tidemill(stage, "replay", "flights", "--parked", "--stage", "local")
    assert f"{parked.key}  was parked" in answer
    assert settled(stage, victim, "prepared").attempts == 1


def ringing(stage: Deployment) -> list[str]:
    alarms = stage.client("cloudwatch").describe_alarms(StateValue="ALARM")["MetricAlarms"]
    return [alarm["MetricName"] for alarm in alarms]


def test_a_run_whose_finish_and_whose_last_event_are_lost_is_buried_by_the_schedule(stage, faults, rows):
    faults(Fault("dynamodb:*", "kill", caller=FINISH), Fault("deliver:Step Functions Execution Status Change", "drop"))
    number = stage.runs("TrainingMachine") + 1
    stage.upload("flights/data/unfinished.csv", rows)
    assert stage.finished("TrainingMachine", number)["status"] == "FAILED"
    lease = stage.ledger.lease("flights")
    assert lease.owner is not None
    stage.cloud.faults.set()
    until(lambda: stage.cloud.clock.advance(900) or stage.ledger.lease("flights").owner is None)
    assert stage.ledger.run("flights", lease.epoch).outcome == "failed"
    assert "Execution: FAILED" in stage.ledger.run("flights", lease.epoch).reasons[-1]
    assert upload_of(stage, "unfinished.csv").state == "prepared"


def test_a_test_event_of_s3_is_ignored_and_a_malformed_message_ends_as_a_dead_letter_that_can_be_sent_again(stage, faults):
    sqs, dead = stage.client("sqs"), DeadLetters(stage.outputs["IntakeDeadQueue"], stage.outputs["IntakeQueue"], stage.client("sqs"))
    sqs.send_message(QueueUrl=stage.outputs["IntakeQueue"], MessageBody=json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"}))
    until(lambda: 'no \\"Object Created\\" of s3://' in stage.log_lines("Intake"))
    sqs.send_message(QueueUrl=stage.outputs["IntakeQueue"], MessageBody="no JSON")
    until(lambda: stage.cloud.clock.advance(181) or dead.all())
    assert [letter.body for letter in dead.all()] == ["no JSON"]
    assert "no message of ours, 7 characters" in tidemill(stage, "dlq", "list", "--stage", "local")
    assert "1 message sent to intake again" in tidemill(stage, "dlq", "redrive", "--stage", "local")
    assert dead.all() == []


def tidemill(stage: Deployment, *arguments: str) -> str:
    done = CliRunner().invoke(app, arguments, env=stage.cloud.clients.account_environment())
    assert done.exit_code == 0, done.output
    return done.output
