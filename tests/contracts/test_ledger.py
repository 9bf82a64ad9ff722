"""The ledger's contract: the fake and DynamoDB (on moto, in process) keep the same promises."""

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from tests.fakes import MemoryLedger
from tidemill.adapters.ledger import DynamoLedger
from tidemill.errors import RecordMissing, Superseded
from tidemill.ports import Ledger
from tidemill.records import Champion, Lease, Package, Release, Run, Upload, digest


def dynamo() -> DynamoLedger:
    client = boto3.client("dynamodb", region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s")
    keys = [("model", "HASH"), ("item", "RANGE")]
    client.create_table(
        TableName="ledger",
        KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name, _ in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    return DynamoLedger("ledger", client)


@pytest.fixture(params=["memory", "dynamo"])
def ledger(request) -> Ledger:
    if request.param == "memory":
        yield MemoryLedger()
    else:
        with mock_aws():
            yield dynamo()


def upload(key: str = "boats/data/a.csv", at: str = "2024-06-01T12:00:00.000Z", **more) -> Upload:
    return Upload(bucket="landing", key=key, version_id="v1", model="boats", size_bytes=3, received_at=at, **more)


def run(epoch: int = 1) -> Run:
    return Run(model="boats", epoch=epoch, cause="upload", execution="arn:1", started_at="t", uploads=("u",), spec_hash="s", code_hash="c")


def test_an_upload_is_added_once(ledger):
    assert ledger.add_upload(upload())
    assert not ledger.add_upload(upload())
    assert ledger.uploads("boats") == [upload()]
    assert ledger.uploads("ships") == []


def test_uploads_come_oldest_first(ledger):
    late, early = upload("boats/data/a.csv", "2024-06-02T00:00:00.000Z"), upload("boats/data/b.csv", "2024-06-01T00:00:00.000Z")
    ledger.add_upload(late)
    ledger.add_upload(early)
    assert ledger.uploads("boats") == [early, late]


def test_the_lease_is_taken_in_order_by_one_owner(ledger):
    assert ledger.lease("boats") == Lease()
    ledger.acquire("boats", 1, "arn:1")
    ledger.acquire("boats", 1, "arn:1")
    for epoch, owner in ((1, "arn:2"), (2, "arn:2"), (3, "arn:2")):
        with pytest.raises(Superseded):
            ledger.acquire("boats", epoch, owner)
    ledger.release_lease("boats", 1, "arn:2")
    assert ledger.lease("boats") == Lease(epoch=1, owner="arn:1")
    ledger.release_lease("boats", 1, "arn:1")
    assert ledger.lease("boats") == Lease(epoch=1)
    with pytest.raises(Superseded):
        ledger.acquire("boats", 1, "arn:1")
    ledger.acquire("boats", 2, "arn:2")


def test_a_spent_epoch_is_skipped_only_while_nobody_holds_it(ledger):
    ledger.skip_epoch("boats", 1)
    assert ledger.lease("boats") == Lease(epoch=1)
    ledger.skip_epoch("boats", 1)
    assert ledger.lease("boats") == Lease(epoch=1)
    ledger.acquire("boats", 2, "arn:2")
    ledger.skip_epoch("boats", 3)
    assert ledger.lease("boats") == Lease(epoch=2, owner="arn:2")


def test_an_upload_is_claimed_by_the_epoch_that_holds_the_lease(ledger):
    ledger.add_upload(upload())
    assert not ledger.claim_upload(upload(), 1)
    ledger.acquire("boats", 1, "arn:1")
    assert ledger.claim_upload(upload(), 1)
    assert ledger.claim_upload(upload(), 1)
    ledger.finish_upload(upload(state="prepared", epoch=1, part="p"), 1)
    assert not ledger.claim_upload(upload(), 1)
    assert ledger.uploads("boats")[0].part == "p"


def test_a_later_epoch_takes_what_an_earlier_left_claimed(ledger):
    ledger.add_upload(upload())
    ledger.acquire("boats", 1, "arn:1")
    ledger.claim_upload(upload(), 1)
    ledger.release_lease("boats", 1, "arn:1")
    ledger.acquire("boats", 2, "arn:2")
    assert ledger.claim_upload(upload(), 2)
    with pytest.raises(Superseded):
        ledger.finish_upload(upload(state="prepared", epoch=1, part="p"), 1)


def test_runs_are_fenced_by_their_epoch(ledger):
    with pytest.raises(Superseded):
        ledger.put_run(run())
    ledger.acquire("boats", 1, "arn:1")
    ledger.put_run(run())
    assert ledger.run("boats", 1) == run()
    assert ledger.runs("boats") == [run()]
    ledger.release_lease("boats", 1, "arn:1")
    ledger.acquire("boats", 2, "arn:2")
    with pytest.raises(Superseded):
        ledger.put_run(run().model_copy(update={"outcome": "failed"}))
    with pytest.raises(RecordMissing):
        ledger.run("boats", 2)


def test_packages_champions_and_releases(ledger):
    ledger.acquire("boats", 1, "arn:1")
    package = Package(
        arn="a", model="boats", version=1, run=1, decision="promote", compared_with=None, model_data="m", image="i", evaluation="e", spec_hash="s"
    )
    ledger.put_package(package)
    assert ledger.package("boats", 1) == package
    first = Champion(package="boats/1", version=1, model_data="m", endpoint_config="c1", since="t")
    second = Champion(package="boats/2", version=2, model_data="m", endpoint_config="c2", since="t")
    assert ledger.champion("boats") is None
    ledger.set_champion("boats", first, replaces=None)
    ledger.set_champion("boats", first, replaces=None)
    with pytest.raises(Superseded):
        ledger.set_champion("boats", second, replaces=None)
    ledger.set_champion("boats", second, replaces=first)
    assert ledger.champion("boats") == second
    release = Release(package="boats/1", execution="arn:r1", started_at="t")
    ledger.claim_release("boats", 1, release)
    ledger.claim_release("boats", 1, release)
    with pytest.raises(Superseded):
        ledger.claim_release("boats", 1, release.model_copy(update={"execution": "arn:r2"}))
    ledger.finish_release("boats", 1, release.model_copy(update={"outcome": "live"}))
    assert ledger.release("boats", 1).outcome == "live"


class Contended:
    """A DynamoDB client whose first transactions meet another one."""

    def __init__(self, client, conflicts: int) -> None:
        self._client, self.left = client, conflicts

    def transact_write_items(self, **arguments):
        if self.left:
            self.left -= 1
            reasons = {"CancellationReasons": [{"Code": "TransactionConflict"}, {"Code": "None"}]}
            raise ClientError({"Error": {"Code": "TransactionCanceledException", "Message": ""}} | reasons, "TransactWriteItems")
        return self._client.transact_write_items(**arguments)

    def __getattr__(self, name: str):
        return getattr(self._client, name)


def test_a_conflict_with_another_writer_is_tried_again_not_taken_for_a_lost_epoch():
    with mock_aws():
        known = dynamo()
        known.acquire("boats", 1, "arn:1")
        DynamoLedger("ledger", Contended(known._client, 3)).put_run(run())
        assert known.run("boats", 1) == run()


def test_the_release_lock_has_one_owner_who_may_be_dead(ledger):
    assert ledger.lock_release("boats", "arn:r1", None)
    assert ledger.lock_release("boats", "arn:r1", None)
    assert not ledger.lock_release("boats", "arn:r2", None)
    assert ledger.release_lock("boats") == "arn:r1"
    assert ledger.lock_release("boats", "arn:r2", "arn:r1")
    ledger.unlock_release("boats", "arn:r1")
    assert ledger.release_lock("boats") == "arn:r2"
    ledger.unlock_release("boats", "arn:r2")
    assert ledger.release_lock("boats") is None


def test_the_decision_log_is_appended_in_a_chain(ledger):
    for i in range(3):
        ledger.log(
            time="t", model="boats", kind="gate", subject=f"run {i}", actor="system", decision="promote", reasons=("AUC 0.7",), inputs={"spec": "s"}
        )
    log = ledger.decisions("boats")
    assert [entry.seq for entry in log] == [1, 2, 3]
    assert [entry.previous for entry in log] == ["", log[0].hash, log[1].hash]
    assert all(entry.hash == digest(entry) for entry in log)
