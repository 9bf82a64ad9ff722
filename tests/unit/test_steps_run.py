"""claim to finish, over ports in memory: safe to repeat, every end on record."""

import json

import pytest

from tests.samples import SPEC, folder, rows
from tests.world import NOW, T0
from tidemill import keys
from tidemill.dataset import rules_id
from tidemill.errors import ObjectForbidden, ObjectMissing, RecordMissing, ReleaseBusy, ReleaseRefused, SpecError, Superseded
from tidemill.events import (
    ClaimRequest,
    Failure,
    PrepareRequest,
    ReleaseEnd,
)  # fmt: skip
from tidemill.prepare.part import prepare
from tidemill.records import Lease, Upload
from tidemill.steps.assemble import current_uploads
from tidemill.steps.claim import claim
from tidemill.steps.deal import MAX_BINS, MAX_LARGE, deal
from tidemill.steps.pinned import pinned_spec
from tidemill.steps.prepare import prepare_bin
from tidemill.steps.release import release_finish
from tidemill.steps.replay import Choice, replay
from tidemill.steps.settle import PreparedUpload, settle_bin, summarize


def test_claim_is_safe_to_repeat_and_refuses_another_owner(world):
    world.upload("boats/data/a.csv", rows())
    assert world.claim() == world.claim()
    assert world.ledger.uploads("boats")[0].attempts == 1
    other = ClaimRequest(model="boats", epoch=1, cause="upload", execution="arn:other", started_at=NOW)
    with pytest.raises(Superseded):
        claim(other, "test", ledger=world.ledger, models=world.models, lake=world.lake)


def test_job_names_fit_sagemakers_63_characters():
    prefix = keys.job_prefix("a" * 12, "m" * 24, 999_999, "abcd")
    assert len(f"{prefix}-evaluate-9") <= 63


def test_prepare_is_safe_to_repeat(world):
    world.upload("boats/data/a.csv", rows())
    world.claim()
    first = world.prepare()
    objects = dict(world.lake.objects)
    assert world.prepare() == first
    assert world.lake.objects == objects
    assert world.ledger.uploads("boats")[0].state == "prepared"


@pytest.mark.parametrize("fault", [ObjectForbidden, ObjectMissing])
def test_an_upload_that_cannot_be_read_is_refused_and_the_others_of_its_run_are_not(world, monkeypatch, fault):
    world.upload("boats/data/a.csv", rows())
    world.upload("boats/data/b.csv", rows(11))
    world.claim()
    opened = world.landing.open

    def refuse(key, version_id=None):
        if key.endswith("a.csv"):
            raise fault(f"s3://landing/{key}: the reason")
        return opened(key, version_id)

    monkeypatch.setattr(world.landing, "open", refuse)
    for number in range(2):
        world.prepare(number=number)
    first, second = sorted(world.ledger.uploads("boats"), key=lambda upload: upload.key)
    assert (first.state, first.reason) == ("refused", "s3://landing/boats/data/a.csv: the reason")
    assert second.state == "prepared"


@pytest.mark.parametrize(
    ("data", "told"),
    [("", "empty"), ("id,day,sank,kind,port,length_m,crew,note\n", "header without rows"), ("a,b\n1,2\n", "missing column"), ("\0\1\2", "NUL")],
)
def test_a_bad_file_is_refused_on_record_and_the_run_stops_with_the_reason(world, data, told):
    world.upload("boats/data/bad.csv", data)
    world.claim()
    assert told in world.prepare()[0].reason
    stopped = world.assemble()
    assert (stopped["stop"], stopped["outcome"]) == (True, "refused")
    assert told in stopped["reasons"][0]
    world.finish(outcome="refused")
    assert world.ledger.run("boats", 1).outcome == "refused"
    assert told in world.ledger.decisions("boats")[0].reasons[0]
    assert world.ledger.lease("boats").owner is None


def test_a_good_file_beside_a_bad_one_is_learned_from(world):
    world.upload("boats/data/a.csv", rows())
    world.upload("boats/data/b.csv", "")
    world.claim()
    bins = json.loads(world.lake.get(keys.work_list("boats", "0001")))["bins"]
    for number in range(len(bins)):
        prepare_bin(PrepareRequest(model="boats", epoch=1, bin=number), NOW, ledger=world.ledger, landing=world.landing, lake=world.lake)
    assert world.assemble()["stop"] is False
    assert "empty" in world.ledger.run("boats", 1).refused[0]


def test_an_object_that_is_gone_is_refused_not_fatal(world):
    world.upload("boats/data/a.csv", rows())
    world.claim()
    world.landing.objects.clear()
    assert world.prepare()[0].outcome == "refused"


def test_too_little_data_stops_with_the_reason(world):
    world.upload("boats/data/a.csv", rows(2))
    world.claim()
    world.prepare()
    stopped = world.assemble()
    assert stopped["outcome"] == "refused"
    assert "2 days of data cannot be cut" in stopped["reasons"][0]


def test_the_same_content_again_is_nothing_new(world):
    world.registered()
    world.upload("boats/data/1.csv", rows(11), version="v2")
    world.claim(2)
    world.prepare(2)
    assert world.assemble(2)["outcome"] == "nothing_new"


def test_under_other_rules_old_uploads_are_prepared_again(world):
    """Parts of two sets of rules must not meet in a dataset."""
    world.registered()
    part = world.ledger.uploads("boats")[0].part
    world.models.folders["s3://assets/boats.zip"] = folder(SPEC.replace("max = 400", "max = 12"))
    world.models.entries["boats"] = world.models.entries["boats"].model_copy(update={"sha256": "0ther"})
    world.upload("boats/data/2.csv", rows(12))
    world.claim(2)
    bins = json.loads(world.lake.get(keys.work_list("boats", "0002")))["bins"]
    for number in range(len(bins)):
        prepare_bin(PrepareRequest(model="boats", epoch=2, bin=number), NOW, ledger=world.ledger, landing=world.landing, lake=world.lake)
    assert len(bins) == 2
    assert part not in {upload.part for upload in world.ledger.uploads("boats")}
    assert world.assemble(2)["stop"] is False


def test_what_the_state_machine_carries_of_a_bin_stays_small():
    many = [PreparedUpload(str(i), f"boats/data/{i}.csv", "refused", reason="x" * 1000) for i in range(10_000)]
    assert len(json.dumps(summarize(many))) < 2000


def test_a_later_version_of_a_key_supersedes_the_part_of_the_earlier(world):
    world.registered()
    world.upload("boats/data/1.csv", rows(20), at_ms=T0 + 1000, version="v2")
    world.claim(2)
    world.prepare(2)
    dataset = json.loads(world.lake.get(keys.dataset_manifest("boats", world.assemble(2)["dataset"])))
    assert len(dataset["parts"]) == 1


def test_the_gates_decision_is_logged_once_however_often_it_runs(world):
    world.upload("boats/data/a.csv", rows())
    world.claim()
    assert world.gate() == world.gate()
    kinds = [entry.kind for entry in world.ledger.decisions("boats")]
    assert kinds.count("gate") == 1


def test_register_refuses_what_the_gate_did_not_promote(world):
    world.upload("boats/data/a.csv", rows())
    world.claim()
    world.gate(auc=0.5)
    with pytest.raises(ReleaseRefused, match="not promoted"):
        world.register()
    assert world.registry.packages == {}


def test_register_creates_one_package_and_approves_after_recording_it(world):
    world.upload("boats/data/a.csv", rows())
    world.claim()
    world.gate()
    assert world.register() == world.register()
    assert [p["status"] for p in world.registry.packages.values()] == ["Approved"]
    assert world.ledger.package("boats", 1).decision == "promote"


def test_finish_frees_the_lease_and_ticks_for_what_came_meanwhile(world):
    world.upload("boats/data/a.csv", rows())
    world.claim()
    world.prepare()
    world.upload("boats/data/b.csv", rows(8))
    world.ticks.sent.clear()
    assert world.finish().waiting == 1
    assert world.ticks.sent == [("boats", 0)]
    assert world.ledger.lease("boats").owner is None


def test_a_failure_is_recorded_with_its_state_and_reason(world):
    world.upload("boats/data/a.csv", rows())
    world.claim()
    cause = json.dumps({"FailureReason": "AlgorithmError: one class only", "TrainingJobName": "x"})
    world.finish(outcome=None, failure=Failure(state="Train", error="States.TaskFailed", cause=cause))
    run = world.ledger.run("boats", 1)
    assert run.outcome == "failed"
    assert run.reasons == ("Train: States.TaskFailed: AlgorithmError: one class only",)


def failing(world, epoch: int, cause: str = "killed"):
    return world.finish(epoch, outcome=None, failure=Failure(state="PrepareBin", error="Lambda.Unknown", cause=cause))


def test_a_spec_that_fails_at_claim_counts_as_an_attempt_so_that_it_cannot_loop(world):
    world.models.folders["s3://assets/boats.zip"] = folder("name = 3")
    world.upload("boats/data/a.csv", rows())
    with pytest.raises(SpecError):
        world.claim()
    world.ticks.sent.clear()
    world.finish(outcome=None, failure=Failure(state="Claim", error="SpecError", cause="name: 3"))
    assert world.ticks.sent == [("boats", 60)]
    assert world.ledger.run("boats", 1).reasons == ("Claim: SpecError: name: 3",)
    upload = world.ledger.uploads("boats")[0]
    assert (upload.state, upload.attempts, upload.epoch) == ("pending", 1, None)
    assert world.ledger.lease("boats").owner is None


def test_a_run_that_failed_before_it_took_an_upload_waits_for_the_sweeper(world):
    """Nothing counts its attempts, so it must not tick itself."""
    world.upload("boats/data/a.csv", rows(), at_ms=T0 - 1000)
    world.ticks.sent.clear()
    world.finish(outcome=None, failure=Failure(state="Claim", error="ServiceUnavailable", cause="throttled"))
    assert world.ticks.sent == []
    assert world.ledger.run("boats", 1).outcome == "failed"
    assert world.ledger.lease("boats") == Lease(epoch=1)
    world.upload("boats/data/b.csv", rows(), at_ms=T0 + 1000)
    assert world.finish(outcome=None, failure=Failure(state="Claim", error="E", cause="")).waiting == 2
    assert world.ticks.sent[-1] == ("boats", 0)


def test_after_three_attempts_an_upload_is_parked_on_record_and_waits_no_longer(world):
    world.upload("boats/data/poison.csv", rows())
    world.ticks.sent.clear()
    for epoch in (1, 2, 3):
        world.claim(epoch)
        finished = failing(world, epoch)
    assert finished.parked == ("boats/data/poison.csv",)
    assert world.ticks.sent == [("boats", 60), ("boats", 240)]
    upload = world.ledger.uploads("boats")[0]
    assert upload.state == "parked"
    assert upload.reason == "not prepared in 3 attempts; the last, run 0003, ended with PrepareBin: Lambda.Unknown: killed"
    entry = next(e for e in world.ledger.decisions("boats") if e.decision == "park")
    assert (entry.subject, entry.reasons) == (upload.key, (upload.reason,))
    assert world.ledger.waiting("boats") is None


def test_what_other_bins_prepared_stays_prepared_and_a_suspect_lies_alone(world):
    for i in range(150):
        world.upload(f"boats/data/{i}.csv", rows(3 + i % 7), at_ms=T0 + i)
    world.claim()
    world.prepare(number=0)
    assert len(failing(world, 1).given_back) == 148
    world.upload("boats/data/new.csv", rows(12), at_ms=T0 + 1000)
    bins = json.loads(world.lake.get(keys.work_list("boats", world.claim(2)["run"])))["bins"]
    assert len(bins) == 100
    new = world.ledger.uploads("boats")[-1].id
    assert [b for b in bins if new in b] == [[new]]
    assert sorted(id_ for b in bins for id_ in b) == sorted(u.id for u in world.ledger.uploads("boats") if u.state == "claimed")


def test_few_suspects_lie_each_alone():
    def upload(i: int, attempts: int) -> Upload:
        return Upload(bucket="b", key=str(i), version_id="v", model="boats", size_bytes=1, received_at="t", attempts=attempts)

    suspects, fresh = [upload(i, 2) for i in range(3)], [upload(i, 1) for i in range(3, 300)]
    bins = deal([*fresh, *suspects]).small
    assert [[s.id] for s in suspects] == [b for b in bins if len(b) == 1]
    assert sorted(id_ for b in bins for id_ in b) == sorted(u.id for u in [*fresh, *suspects])
    assert len(bins) == MAX_BINS
    assert deal([]).all == []


def test_large_uploads_lie_in_bins_of_their_own():
    def upload(key: str, size: int) -> Upload:
        return Upload(bucket="b", key=key, version_id="v", model="boats", size_bytes=size, received_at="t", attempts=1)

    small, large = [upload(str(i), 100) for i in range(5)], [upload(f"large-{i}", 101) for i in range(30)]
    packed = upload("x.csv.gz", 26)
    bins = deal([*large, *small, packed], 100)
    assert sorted(id_ for b in bins.large for id_ in b) == sorted(u.id for u in [*large, packed])
    assert len(bins.large) == MAX_LARGE
    assert sorted(id_ for b in bins.small for id_ in b) == sorted(u.id for u in small)


def test_a_large_upload_is_settled_by_what_the_job_left(world):
    world.upload("boats/data/a.csv", rows())
    world.upload("boats/data/b.csv", rows(12), at_ms=T0 + 1)
    execution = world.workflow.execution("boats-0001")
    request = ClaimRequest(model="boats", epoch=1, cause="upload", execution=execution, started_at=NOW)
    claimed = claim(request, "test", ledger=world.ledger, models=world.models, lake=world.lake, large_bytes=10)
    assert (claimed["bins"], claimed["large"]) == ([], [0, 1])
    one, other = world.ledger.uploads("boats")
    work = json.loads(world.lake.get(keys.work_list("boats", "0001")))
    assert work["large"][one.id] == {"key": "boats/data/a.csv", "version_id": "v1", "received_at": one.received_at}
    part = prepare(rows().encode(), "a.csv", pinned_spec("boats", work["spec"], world.lake)).record
    world.lake.put(keys.part_record("boats", part.id), part.model_dump_json().encode())
    for upload, ended in ((one, {"part": part.id, "reason": None}), (other, {"part": None, "reason": "not CSV"})):
        world.lake.put(keys.large_result("boats", "0001", upload.id), json.dumps(ended).encode())
    for _ in range(2):
        for number in claimed["large"]:
            settle_bin(PrepareRequest(model="boats", epoch=1, bin=number), NOW, ledger=world.ledger, lake=world.lake)
    one, other = world.ledger.uploads("boats")
    assert (one.state, one.part, one.rules) == ("prepared", part.id, rules_id(part.prepare_hash, part.version))
    assert (other.state, other.reason) == ("refused", "not CSV")
    assert [entry.reasons for entry in world.ledger.decisions("boats")] == [("not CSV",)]
    assert world.lake.exists(keys.upload_fact("boats", one.id))


def test_a_finish_that_is_repeated_or_late_changes_nothing(world):
    world.upload("boats/data/a.csv", rows())
    world.claim()
    first = failing(world, 1)
    decisions, run = world.ledger.decisions("boats"), world.ledger.run("boats", 1)
    assert failing(world, 1).given_back == ()
    world.claim(2)
    failing(world, 1, cause="woke up late")
    assert (world.ledger.decisions("boats"), world.ledger.run("boats", 1)) == (decisions, run)
    assert world.ledger.uploads("boats")[0].epoch == 2
    assert first.given_back == ("boats/data/a.csv",)


def test_a_step_of_a_run_that_ended_writes_nothing_even_before_another_began(world):
    world.upload("boats/data/a.csv", rows())
    world.claim()
    failing(world, 1)
    for late in (world.prepare, world.gate):
        with pytest.raises(Superseded):
            late()
    assert world.ledger.uploads("boats")[0].state == "pending"


def test_an_earlier_version_that_comes_late_supersedes_nothing(world):
    """Events of one key may come in the wrong order; S3's sequencer tells which version is newer."""
    world.upload("boats/data/1.csv", rows(20), version="v2", sequencer="0a", at_ms=T0)
    world.upload("boats/data/1.csv", rows(10), version="v1", sequencer="9", at_ms=T0 + 1000)
    world.claim()
    world.prepare(number=0)
    world.prepare(number=1)
    dataset = json.loads(world.lake.get(keys.dataset_manifest("boats", world.assemble()["dataset"])))
    newer = next(u for u in world.ledger.uploads("boats") if u.version_id == "v2")
    assert [part["id"] for part in dataset["parts"]] == [newer.part]


def test_a_new_version_that_is_refused_supersedes_nothing(world):
    world.registered()
    world.upload("boats/data/1.csv", "", version="v2", sequencer="02", at_ms=T0 + 1000)
    world.claim(2)
    world.prepare(2)
    assert [u.version_id for u in current_uploads(world.ledger.uploads("boats"))] == ["v1"]


def replayed(world, **choice):
    return [u.key for u in replay("boats", Choice(**choice), NOW, "ann", ledger=world.ledger, lake=world.lake, ticks=world.ticks)]


def test_replay_makes_refused_and_parked_uploads_pending_again_on_record(world):
    world.upload("boats/data/bad.csv", "")
    world.claim()
    world.prepare()
    world.finish(outcome="refused")
    world.upload("boats/data/poison.csv", rows(), at_ms=T0 + 1)
    for epoch in (2, 3, 4):
        world.claim(epoch)
        failing(world, epoch)
    assert replayed(world, states=("parked",)) == ["boats/data/poison.csv"]
    assert replayed(world) == ["boats/data/bad.csv"]
    assert [(u.state, u.attempts, u.reason) for u in world.ledger.uploads("boats")] == [("pending", 0, None)] * 2
    entry = world.ledger.decisions("boats")[-1]
    assert (entry.decision, entry.actor, entry.subject) == ("replay", "ann", "boats/data/bad.csv")
    assert world.ticks.sent[-1] == ("boats", 0)
    with pytest.raises(RecordMissing, match="no upload to replay"):
        replayed(world)


def test_replay_of_one_key_takes_its_newest_version_and_of_rejects_only_what_has_some(world):
    world.registered()
    world.upload("boats/data/1.csv", rows(12) + "x,2024-05-01T00:00:00,true,rowing,north,1,1,\n", version="v2", sequencer="02", at_ms=T0 + 9)
    world.claim(2)
    world.prepare(2)
    world.finish(2)
    assert replayed(world, states=("prepared",), key="boats/data/1.csv", rejects=True) == ["boats/data/1.csv"]
    assert [(u.version_id, u.state) for u in world.ledger.uploads("boats")] == [("v1", "prepared"), ("v2", "pending")]
    with pytest.raises(RecordMissing):
        replayed(world, states=("prepared",), key="boats/data/2.csv", rejects=True)


def test_a_run_waits_for_a_release_that_decides_who_the_champion_is(world):
    world.registered()
    world.workflow.executions["arn:release:1"] = True
    world.release()
    world.upload("boats/data/2.csv", rows(12))
    world.claim(2)
    world.prepare(2)
    with pytest.raises(ReleaseBusy):
        world.assemble(2)
    end = ReleaseEnd(**world.ref(), outcome="live", endpoint_config="test-boats-1-abcd")
    release_finish(end, "test", ledger=world.ledger, registry=world.registry, endpoints=world.endpoints)
    assert world.assemble(2)["champion"] == "boats/1"


def test_a_run_that_lost_its_epoch_writes_nothing(world):
    world.upload("boats/data/a.csv", rows())
    world.claim()
    world.finish()
    world.claim(2)
    with pytest.raises(Superseded):
        world.gate(epoch=1)


def test_another_version_of_prepare_makes_every_part_anew(world, monkeypatch):
    """Parts of two versions may hash keys differently: they must not meet in a dataset."""
    world.registered()
    before = world.ledger.uploads("boats")[0].part
    monkeypatch.setattr("tidemill.prepare.VERSION", 99)
    monkeypatch.setattr("tidemill.prepare.part.VERSION", 99)
    world.upload("boats/data/2.csv", rows(12))
    world.claim(2)
    assert {upload.state for upload in world.ledger.uploads("boats")} == {"claimed"}
    world.prepare(2)
    assert world.ledger.uploads("boats")[0].part not in (None, before)
