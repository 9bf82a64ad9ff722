"""claim to finish, over ports in memory: safe to repeat, every end on record."""

import json

import pytest

from tests.samples import SPEC, folder, rows
from tests.world import NOW, T0
from tidemill import keys
from tidemill.errors import ReleaseBusy, ReleaseRefused, SpecError, Superseded
from tidemill.events import (
    ClaimRequest,
    Failure,
    PrepareRequest,
    ReleaseEnd,
)  # fmt: skip
from tidemill.steps.claim import claim
from tidemill.steps.prepare import PreparedUpload, prepare_bin, summarize
from tidemill.steps.release import release_finish


def test_claim_is_safe_to_repeat_and_refuses_another_owner(world):
    world.upload("boats/data/a.csv", rows())
    assert world.claim() == world.claim()
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
    world.upload("boats/data/b.csv", rows(8))
    world.ticks.sent.clear()
    assert world.finish()["waiting"] == 1
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


def test_a_run_that_failed_to_claim_is_on_record_and_does_not_start_itself_again(world):
    """The upload stays pending: nothing is lost, but nothing loops either."""
    world.models.folders["s3://assets/boats.zip"] = folder("name = 3")
    world.upload("boats/data/a.csv", rows())
    with pytest.raises(SpecError):
        world.claim()
    world.ticks.sent.clear()
    world.finish(outcome=None, failure=Failure(state="Claim", error="SpecError", cause="name: 3"))
    assert world.ticks.sent == []
    assert world.ledger.run("boats", 1).reasons == ("Claim: SpecError: name: 3",)
    assert world.ledger.uploads("boats")[0].state == "pending"
    assert world.ledger.lease("boats").owner is None
    world.upload("boats/data/b.csv", rows(), at_ms=T0 + 1000)
    world.finish(outcome=None, failure=Failure(state="Claim", error="SpecError", cause="name: 3"))
    assert world.ticks.sent[-1] == ("boats", 0)


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
