"""A thousand files at once: none lost, each settled once, by the run that the quiet window says and by no other."""

import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from localcloud.cloud import LocalCloud
from localcloud.cloudformation.assembly import deploy
from localcloud.config import load_config
from tests.cloud.conftest import ROOT, Deployment, synth
from tests.samples import HEADER, SPEC
from tidemill.keys import parameter_name

pytestmark = [pytest.mark.long, pytest.mark.cloud, pytest.mark.timeout(3600)]

UPLOADS, PATIENCE_S = 1_000, 1_800
QUIET_S = 60


@pytest.fixture(scope="module")
def stage(tmp_path_factory) -> Deployment:
    folder = tmp_path_factory.mktemp("models")
    (folder / "boats").mkdir()
    (folder / "boats" / "model.toml").write_text(SPEC)
    assembly = synth(tmp_path_factory.mktemp("cdk"), models=str(folder))
    with LocalCloud(load_config(ROOT / "localcloud.toml")) as cloud:
        outputs = deploy(assembly, cloud.clients)
        yield Deployment(cloud, {key: value for stack in outputs.values() for key, value in stack.items()})


def rows(number: int) -> bytes:
    """Four boats of its own on one of ten days."""
    day = f"2024-05-{1 + number % 10:02d}T0"
    lines = [
        f"b{number}-{i},{day}{i}:00:00,{str((number // 10 + i) % 2 == 0).lower()},{('sail', 'motor')[i % 2]},north,1{i}.5,{i}," for i in range(4)
    ]
    return "\n".join([HEADER, *lines, ""]).encode()


def windows(stage: Deployment) -> None:
    """The local stage waits one second for a next file; this machine may be slower than that at sending a thousand."""
    ssm, name = stage.client("ssm"), parameter_name("local", "boats")
    entry = json.loads(ssm.get_parameter(Name=name)["Parameter"]["Value"]) | {"quiet_s": QUIET_S, "max_wait_s": 43_200}
    ssm.put_parameter(Name=name, Value=json.dumps(entry), Type="String", Overwrite=True)


def burst(stage: Deployment, first: int, count: int) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: stage.upload(f"boats/data/{i}.csv", rows(i)), range(first, first + count)))


def in_time(condition) -> None:
    """Asks for little, and seldom: localcloud lives in this process, and a look at a thousand uploads would hold it up."""
    ends = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends
        time.sleep(1)


def test_a_thousand_uploads_in_two_bursts_make_two_runs_and_none_is_lost(stage):
    windows(stage)
    burst(stage, 0, UPLOADS // 2)
    in_time(lambda: stage.ledger.runs("boats"))  # the first run has claimed what it takes
    burst(stage, UPLOADS // 2, UPLOADS // 2)
    in_time(lambda: len(stage.ledger.runs("boats")) == 2 and stage.ledger.lease("boats").owner is None and stage.ledger.waiting("boats") is None)
    assert Counter(u.state for u in stage.ledger.uploads("boats")) == {"prepared": UPLOADS}
    assert Counter(u.epoch for u in stage.ledger.uploads("boats")) == {1: UPLOADS // 2, 2: UPLOADS // 2}
    assert {u.attempts for u in stage.ledger.uploads("boats")} == {1}
    assert stage.runs("TrainingMachine") == 2
    dead = stage.client("sqs").get_queue_attributes(QueueUrl=stage.outputs["IntakeDeadQueue"], AttributeNames=["ApproximateNumberOfMessages"])
    assert dead["Attributes"]["ApproximateNumberOfMessages"] == "0"
    assert [str(record) for record in stage.cloud.recorder.denied()] == []
