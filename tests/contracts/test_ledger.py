"""The ledger's contract: the fake and DynamoDB (on moto, in process) keep the same promises."""

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.dynamodb.models import DynamoDBBackend

from localcloud import tables
from tests.fakes import MemoryLedger
from tests.samples import spec
from tests.world import World
from tidemill.adapters.ledger import DynamoLedger
from tidemill.errors import RecordMissing, Superseded
from tidemill.ports import Ledger
from tidemill.prepare import rules_of
from tidemill.records import Champion, Exclusion, Lease, Package, Release, Run, Suppression, Unreproducible, Upload, Waiting, Waiver, digest

NOW_LATER = "2024-06-01T13:00:00Z"


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


def test_an_exclusion_is_made_once_and_taken_back_once(ledger):
    out = Exclusion(model="boats", upload="u1", key="boats/data/a.csv", reason="", actor="anna", time="t")
    assert ledger.exclude(out)
    assert not ledger.exclude(out.model_copy(update={"reason": "again"}))
    assert ledger.exclusions("boats") == [out]
    assert ledger.exclusions("ships") == []
    assert ledger.include("boats", "u1")
    assert not ledger.include("boats", "u1")
    assert ledger.exclusions("boats") == []


def test_a_waiver_is_given_once_and_is_of_one_package(ledger):
    waiver = Waiver(model="boats", package="boats/6", fault="f", reason="its column is gone", actor="anna", time="t")
    assert ledger.waiver("boats", "boats/6") is None
    assert ledger.waive(waiver)
    assert not ledger.waive(waiver.model_copy(update={"reason": "again"}))
    assert ledger.waiver("boats", "boats/6") == waiver
    assert ledger.waiver("boats", "boats/7") is None
    assert ledger.waiver("ships", "boats/6") is None


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


def test_a_run_that_released_the_lease_writes_no_more(ledger):
    ledger.add_upload(upload())
    ledger.acquire("boats", 1, "arn:1")
    ledger.claim_upload(upload(), 1)
    ledger.release_lease("boats", 1, "arn:1")
    for write in (
        lambda: ledger.finish_upload(upload(state="prepared", epoch=1, part="p"), 1),
        lambda: ledger.put_run(run()),
        lambda: ledger.set_rules("boats", "h", 1),
    ):
        with pytest.raises(Superseded):
            write()
    assert not ledger.claim_upload(upload(), 1)
    assert ledger.uploads("boats")[0].state == "claimed"


def test_a_run_with_an_outcome_stays_as_it_is(ledger):
    ledger.acquire("boats", 1, "arn:1")
    ledger.put_run(run())
    ended = run().model_copy(update={"outcome": "failed"})
    ledger.put_run(ended)
    with pytest.raises(Superseded):
        ledger.put_run(run())
    assert ledger.run("boats", 1) == ended


def test_open_uploads_are_those_that_no_run_has_settled(ledger):
    first, second, third = (upload(f"boats/data/{i}.csv", f"2024-06-01T12:00:0{i}.000Z") for i in range(3))
    for one in (third, first, second):
        ledger.add_upload(one)
    ledger.add_upload(upload("boats/data/r.csv", state="refused", reason="r"))
    ledger.add_upload(upload("boats/labels/l.csv", state="stored"))
    assert ledger.open_uploads("boats") == [first, second, third]
    assert ledger.waiting("boats") == Waiting(first=first.received_at, last=third.received_at)
    ledger.acquire("boats", 1, "arn:1")
    for one in (first, second, third):
        assert ledger.claim_upload(one, 1)
    assert [(u.state, u.epoch) for u in ledger.open_uploads("boats")] == [("claimed", 1)] * 3
    ledger.finish_upload(first.model_copy(update={"state": "prepared", "epoch": 1, "part": "p"}), 1)
    ledger.finish_upload(third.model_copy(update={"state": "refused", "epoch": 1, "reason": "r"}), 1)
    assert [u.key for u in ledger.open_uploads("boats")] == [second.key]
    assert ledger.waiting("boats") == Waiting(first=second.received_at, last=second.received_at)
    assert not ledger.add_upload(first)
    assert ledger.waiting("ships") is None


def test_an_upload_is_given_back_or_parked_only_by_the_run_that_left_it(ledger):
    ledger.add_upload(upload())
    ledger.acquire("boats", 1, "arn:1")
    ledger.claim_upload(upload(attempts=1), 1)
    back = upload(attempts=1)
    assert not ledger.give_back(back, 2)
    assert ledger.give_back(back, 1)
    assert not ledger.give_back(back, 1)
    assert ledger.open_uploads("boats") == [back]
    ledger.claim_upload(upload(attempts=2), 1)
    parked = upload(attempts=2, state="parked", reason="r")
    assert ledger.give_back(parked, 1)
    assert ledger.uploads("boats") == [parked]
    assert ledger.waiting("boats") is None


@pytest.mark.parametrize("state", ["prepared", "refused", "parked"])
def test_a_settled_upload_is_reopened_as_if_it_were_new(ledger, state):
    ledger.add_upload(upload(sequencer="0a", etag="e"))
    ledger.acquire("boats", 1, "arn:1")
    ledger.claim_upload(upload(sequencer="0a", etag="e", attempts=3), 1)
    assert not ledger.reopen(upload())
    settled = upload(sequencer="0a", etag="e", attempts=3, state=state, epoch=1, part="p", rules="h", reason="r")
    ledger.finish_upload(settled, 1)
    assert not ledger.reopen(settled, 2)
    assert ledger.reopen(settled, 1)
    assert not ledger.reopen(settled)
    assert ledger.open_uploads("boats") == [upload(sequencer="0a", etag="e")]
    assert ledger.waiting("boats") == Waiting(first=upload().received_at, last=upload().received_at)


def test_the_rules_of_the_last_claim_are_kept(ledger):
    assert ledger.rules("boats") is None
    ledger.acquire("boats", 1, "arn:1")
    ledger.set_rules("boats", "h", 1)
    assert ledger.rules("boats") == "h"
    with pytest.raises(Superseded):
        ledger.set_rules("boats", "i", 2)


class Counting:
    """A DynamoDB client that counts the items it is given."""

    def __init__(self, client) -> None:
        self._client, self.items = client, 0

    def __getattr__(self, name: str):
        return getattr(self._client, name)

    def get_item(self, **arguments):
        answer = self._client.get_item(**arguments)
        self.items += "Item" in answer
        return answer

    def batch_get_item(self, **arguments):
        answer = self._client.batch_get_item(**arguments)
        self.items += sum(len(items) for items in answer["Responses"].values())
        return answer

    def get_paginator(self, name: str):
        return self

    def paginate(self, PaginationConfig=None, **arguments):  # noqa: N803  # boto3's name
        for page in self._client.get_paginator("query").paginate(PaginationConfig=PaginationConfig, **arguments):
            self.items += page["Count"]
            yield page


def read_items(settled: int) -> dict[str, int]:
    """Items that one tick, one claim and one finish read of a model with so many settled uploads and three open ones."""
    with mock_aws():
        known = dynamo()
        world = World()
        counting = Counting(known._client)
        world.ledger = DynamoLedger("ledger", counting)
        known.acquire("boats", 1, "arn:1")
        known.set_rules("boats", rules_of(spec()), 1)
        known.release_lease("boats", 1, "arn:1")
        done = [upload(f"boats/data/s{i}.csv", state="prepared", epoch=1, part="p", rules=rules_of(spec())) for i in range(settled)]
        items = [known._put(u.model, f"UPLOAD#{u.id}", u.model_dump(mode="json"))["Put"]["Item"] for u in done]
        for start in range(0, settled, 25):
            known._client.batch_write_item(RequestItems={"ledger": [{"PutRequest": {"Item": item}} for item in items[start : start + 25]]})
        for i in range(3):
            known.add_upload(upload(f"boats/data/{i}.csv"))
        counts = {}
        for name, step in {"start": lambda: world.tick(NOW_LATER), "claim": lambda: world.claim(2), "finish": lambda: world.finish(2)}.items():
            counting.items = 0
            step()
            counts[name] = counting.items
        return counts


def test_what_a_tick_a_claim_and_a_finish_read_follows_what_is_new(monkeypatch):
    monkeypatch.setattr(DynamoDBBackend, "transact_write_items", DynamoDBBackend.transact_write_items)
    tables.install()  # without it moto copies the table for every write; monkeypatch takes it out again
    few = read_items(10)
    assert few["start"] <= 3
    assert few == read_items(1_000)


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


def test_a_suppressed_key_is_kept_once_and_by_model(ledger):
    first = Suppression(model="boats", digest="d1", tag=7, erasure="e", time=NOW_LATER)
    assert ledger.suppress(first)
    assert not ledger.suppress(first.model_copy(update={"erasure": "other"}))
    assert ledger.suppress(first.model_copy(update={"digest": "d0"}))
    assert [each.digest for each in ledger.suppressions("boats")] == ["d0", "d1"]
    assert ledger.suppressions("boats")[1] == first
    assert ledger.suppressions("ships") == []


def test_a_dataset_is_marked_once(ledger):
    mark = Unreproducible(model="boats", dataset="d", erasure="e", time=NOW_LATER)
    assert ledger.mark_unreproducible(mark)
    assert not ledger.mark_unreproducible(mark.model_copy(update={"erasure": "later"}))
    assert ledger.unreproducible("boats") == [mark]


def test_a_part_is_replaced_only_while_its_upload_stands_for_it(ledger):
    ledger.acquire("boats", 1, "arn:1")
    ledger.add_upload(upload())
    assert ledger.claim_upload(upload(), 1)
    claimed = ledger.upload("boats", upload().id)
    assert not ledger.replace_part(claimed.model_copy(update={"part": "old"}), "new")
    prepared = claimed.model_copy(update={"state": "prepared", "part": "old", "rules": "p"})
    ledger.finish_upload(prepared, 1)
    assert ledger.replace_part(prepared, "new")
    assert ledger.upload("boats", upload().id) == prepared.model_copy(update={"part": "new"})
    assert not ledger.replace_part(prepared, "newer")
    assert ledger.upload("boats", upload().id).part == "new"
