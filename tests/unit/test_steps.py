"""The steps of the flow, over ports in memory."""

import itertools
import json

import pytest

from tests.fakes import MemoryEndpoints, MemoryLedger, MemoryModels, MemoryRegistry, MemoryStore, MemoryTicks, MemoryWorkflow
from tests.samples import SPEC, folder, rows
from tests.unit.test_evaluate import evaluation
from tidemill import keys
from tidemill.errors import ReleaseBusy, ReleaseRefused, SmokeFailed, SpecError, Superseded
from tidemill.evaluate.record import GoldenRequest
from tidemill.events import (
    ClaimRequest,
    Failure,
    FinishRequest,
    GateRequest,
    ObjectCreated,
    PrepareRequest,
    RegisterRequest,
    ReleaseEnd,
    ReleaseRef,
    ReleaseRequest,
    RunRef,
    SmokeRequest,
)  # fmt: skip
from tidemill.ports import ModelEntry
from tidemill.records import Champion, DecisionEntry, digest
from tidemill.steps.assemble import assemble_run
from tidemill.steps.claim import claim
from tidemill.steps.finish import finish_run
from tidemill.steps.gate import gate_run
from tidemill.steps.intake import intake
from tidemill.steps.prepare import PreparedUpload, prepare_bin, summarize
from tidemill.steps.register import register_run
from tidemill.steps.release import release_claim, release_finish, release_smoke, release_verify
from tidemill.steps.start import start

NOW = "2024-06-01T12:00:00.000Z"
T0 = 1_717_243_200_000  # 2024-06-01T12:00:00Z in milliseconds


class World:
    """One stage in memory."""

    def __init__(self) -> None:
        entry = ModelEntry(uri="s3://assets/boats.zip", sha256="c0de", quiet_s=60, max_wait_s=300)
        self.ledger, self.lake, self.landing, self.ticks = MemoryLedger(), MemoryStore(), MemoryStore(), MemoryTicks()
        self.models = MemoryModels({"boats": entry}, {entry.uri: folder()})
        self.workflow, self.registry, self.endpoints = MemoryWorkflow(), MemoryRegistry(), MemoryEndpoints()

    def upload(self, key: str, data: str = "", at_ms: int = T0, version: str = "v1"):
        self.landing.put(key, data.encode())
        event = ObjectCreated.model_validate(
            {"detail": {"bucket": {"name": "landing"}, "object": {"key": key, "size": len(data), "version-id": version}}}
        )
        return intake(event, at_ms, ledger=self.ledger, models=self.models, ticks=self.ticks)

    def tick(self, now: str):
        return start("boats", now, ledger=self.ledger, models=self.models, workflow=self.workflow)

    def claim(self, epoch: int = 1):
        execution = self.workflow.execution(f"boats-{epoch:04d}")
        request = ClaimRequest(model="boats", epoch=epoch, cause="upload", execution=execution, started_at=NOW)
        return claim(request, "test", ledger=self.ledger, models=self.models, lake=self.lake)

    def prepare(self, epoch: int = 1):
        request = PrepareRequest(model="boats", epoch=epoch, bin=0)
        return prepare_bin(request, NOW, ledger=self.ledger, landing=self.landing, lake=self.lake)

    def assemble(self, epoch: int = 1):
        return assemble_run(RunRef(model="boats", epoch=epoch), ledger=self.ledger, workflow=self.workflow, lake=self.lake)

    def gate(self, auc: float = 0.7, epoch: int = 1, **more):
        self.lake.put("e.json", evaluation(auc, **more).model_dump_json().encode())
        return gate_run(GateRequest(model="boats", epoch=epoch, evaluation="e.json", now=NOW), ledger=self.ledger, lake=self.lake)

    def register(self, epoch: int = 1):
        request = RegisterRequest(model="boats", epoch=epoch, evaluation="e.json", model_data="s3://lake/m.tar.gz", image="repo@sha256:1", now=NOW)
        return register_run(request, "test", ledger=self.ledger, registry=self.registry, lake=self.lake)

    def finish(self, epoch: int = 1, outcome: str | None = "registered", failure: Failure | None = None):
        execution = self.workflow.execution(f"boats-{epoch:04d}")
        request = FinishRequest(model="boats", epoch=epoch, execution=execution, outcome=outcome, failure=failure, started_at=NOW, now=NOW)
        return finish_run(request, ledger=self.ledger, ticks=self.ticks)

    def registered(self, epoch: int = 1) -> None:
        self.upload(f"boats/data/{epoch}.csv", rows(10 + epoch))
        self.claim(epoch)
        self.prepare(epoch)
        assert self.assemble(epoch)["stop"] is False
        self.gate(epoch=epoch)
        self.register(epoch)
        self.finish(epoch)

    def release(self, version: int = 1, execution: str = "arn:release:1"):
        request = ReleaseRequest(package_arn="arn", group="test-boats", version=version, execution=execution, now=NOW)
        return release_claim(request, "test", 600, ledger=self.ledger, workflow=self.workflow, lake=self.lake)

    def ref(self, version: int = 1, execution: str = "arn:release:1") -> dict:
        return {"model": "boats", "version": version, "execution": execution, "now": NOW}


@pytest.fixture
def world() -> World:
    return World()


# intake


def test_an_upload_is_recorded_once_and_ticks_every_time(world):
    assert world.upload("boats/data/a.csv").outcome == "pending"
    assert world.upload("boats/data/a.csv", at_ms=T0 + 5).outcome == "duplicate"
    assert len(world.ledger.uploads("boats")) == 1
    assert world.ticks.sent == [("boats", 60.0), ("boats", 60.0)]


def test_an_object_overwritten_in_place_is_another_upload(world):
    world.upload("boats/data/a.csv", version="v1")
    assert world.upload("boats/data/a.csv", version="v2").outcome == "pending"
    assert len(world.ledger.uploads("boats")) == 2


def test_an_upload_for_an_unknown_model_is_refused_on_record_and_starts_nothing(world):
    taken = world.upload("ships/data/a.csv")
    assert taken.outcome == "refused"
    assert "model 'ships' is not deployed" in taken.reason
    assert world.ledger.uploads("ships")[0].state == "refused"
    assert world.ledger.decisions("ships")[0].decision == "refuse"
    assert world.ticks.sent == []


@pytest.mark.parametrize("key", ["a.csv", "boats/a.csv", "boats/other/a.csv", "boats/data/", "boats/data", "/data/a.csv"])
def test_a_foreign_key_is_ignored_with_its_reason(world, key):
    taken = world.upload(key)
    assert (taken.outcome, taken.model) == ("ignored", None)
    assert world.ticks.sent == []


def test_labels_are_stored_and_start_nothing(world):
    assert world.upload("boats/labels/a.csv").outcome == "stored"
    assert world.ticks.sent == []
    assert world.tick("2024-06-01T13:00:00Z").outcome == "nothing_pending"


# start


def test_waits_for_the_quiet_window_of_the_last_upload(world):
    world.upload("boats/data/a.csv", at_ms=T0)
    world.upload("boats/data/b.csv", at_ms=T0 + 30_000)
    assert world.tick("2024-06-01T12:01:00Z").outcome == "quiet_window"
    assert world.tick("2024-06-01T12:01:30Z").outcome == "started"


def test_does_not_wait_longer_than_max_wait_after_the_first(world):
    for i in range(11):
        world.upload(f"boats/data/{i}.csv", at_ms=T0 + i * 30_000)
    assert world.tick("2024-06-01T12:05:00Z").outcome == "started"


def test_two_ticks_start_one_run(world):
    world.upload("boats/data/a.csv")
    assert world.tick("2024-06-01T12:05:00Z").outcome == "started"
    assert world.tick("2024-06-01T12:05:00Z").outcome == "busy"


def test_a_tick_during_a_run_is_dropped(world):
    world.upload("boats/data/a.csv")
    world.tick("2024-06-01T12:05:00Z")
    world.claim()
    world.upload("boats/data/b.csv")
    assert world.tick("2024-06-01T12:09:00Z").outcome == "busy"


def test_an_execution_that_died_before_it_claimed_does_not_block_the_model(world):
    world.upload("boats/data/a.csv")
    died = world.tick("2024-06-01T12:05:00Z").execution
    world.workflow.executions[died] = False
    again = world.tick("2024-06-01T12:06:00Z")
    assert again.outcome == "started"
    assert again.execution.endswith("boats-0002")
    assert world.claim(2)["epoch"] == 2


def test_a_dead_owner_does_not_keep_the_lease_and_its_uploads_are_taken_again(world):
    world.upload("boats/data/a.csv", rows())
    died = world.tick("2024-06-01T12:05:00Z").execution
    world.claim()
    world.workflow.executions[died] = False
    world.upload("boats/data/b.csv", rows(9))
    assert world.tick("2024-06-01T12:09:00Z").execution.endswith("boats-0002")
    world.claim(2)
    assert [u.epoch for u in world.ledger.uploads("boats")] == [2, 2]
    assert [u.attempts for u in world.ledger.uploads("boats")] == [2, 1]


# claim, prepare, assemble


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


# gate, register, finish


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


# release


def test_a_release_happens_once_a_package(world):
    world.registered()
    assert world.release() == world.release()
    with pytest.raises(Superseded):
        world.release(execution="arn:release:2")


def test_one_release_of_a_model_at_a_time_and_a_dead_one_does_not_block(world):
    world.registered(1)
    world.registered(2)
    world.workflow.executions["arn:release:1"] = True
    world.release(1)
    with pytest.raises(ReleaseBusy, match="waits"):
        world.release(2, "arn:release:2")
    world.workflow.executions["arn:release:1"] = False
    assert world.release(2, "arn:release:2")["version"] == 2


def test_an_approval_does_not_release_what_the_gate_refused(world):
    world.registered()
    refused = world.ledger.package("boats", 1).model_copy(update={"decision": "reject"})
    world.ledger.put_package(refused)
    with pytest.raises(ReleaseRefused, match="the gate decided reject"):
        release_verify(ReleaseRef(**world.ref()), ledger=world.ledger)


def test_a_package_unknown_to_the_ledger_is_not_released(world):
    with pytest.raises(ReleaseRefused, match="not registered by a run"):
        world.release(7)


def test_a_package_compared_with_another_champion_is_not_released(world):
    world.registered()
    champion = Champion(package="boats/9", version=9, model_data="s3://m", endpoint_config="c", since=NOW)
    world.ledger.set_champion("boats", champion, replaces=None)
    with pytest.raises(ReleaseRefused, match="compared with no champion, but boats/9 is live"):
        release_verify(ReleaseRef(**world.ref()), ledger=world.ledger)


def smoke(world, score: float, named: str = "boats/1"):
    golden = evaluation(0.7).model_copy(update={"golden": (GoldenRequest(instance={"kind": "sail"}, score=0.25),)})
    world.lake.put("e.json", golden.model_dump_json().encode())
    world.endpoints.answers["candidate"] = ({"predictions": [{"score": score}]}, named)
    return release_smoke(
        SmokeRequest(model="boats", version=1, endpoint="candidate"), ledger=world.ledger, endpoints=world.endpoints, lake=world.lake
    )


def test_smoke_wants_the_evaluations_scores_from_the_right_package(world):
    world.registered()
    assert smoke(world, 0.25)["golden"] == 1
    with pytest.raises(SmokeFailed, match="1 of 1 golden requests differ"):
        smoke(world, 0.2500001)
    with pytest.raises(SmokeFailed, match="differ"):
        smoke(world, float("nan"))
    with pytest.raises(SmokeFailed, match="answers as 'boats/0'"):
        smoke(world, 0.25, "boats/0")


def test_a_live_release_crowns_the_package_and_frees_the_lock(world):
    world.registered()
    candidate = world.release()["candidate"]
    end = ReleaseEnd(**world.ref(), outcome="live", endpoint_config="test-boats-1-abcd")
    release_finish(end, "test", ledger=world.ledger, registry=world.registry, endpoints=world.endpoints)
    assert world.ledger.champion("boats").package == "boats/1"
    assert world.ledger.release_lock("boats") is None
    assert world.endpoints.deleted == [candidate]


def test_a_restored_release_rejects_the_package_with_the_reason_and_keeps_the_champion(world):
    world.registered()
    world.release()
    end = ReleaseEnd(**world.ref(), outcome="restored", endpoint_config="x", failure=Failure(state="Bake", error="AlarmsRang", cause="errors"))
    release_finish(end, "test", ledger=world.ledger, registry=world.registry, endpoints=world.endpoints)
    assert world.ledger.champion("boats") is None
    package = world.registry.packages["arn:test-boats/1"]
    assert (package["status"], package["reason"]) == ("Rejected", "Bake: AlarmsRang: errors")
    assert world.ledger.release("boats", 1).outcome == "restored"


def test_the_decision_log_is_a_chain(world):
    world.registered()
    log = world.ledger.decisions("boats")
    assert [entry.seq for entry in log] == list(range(1, len(log) + 1))
    assert all(after.previous == before.hash for before, after in itertools.pairwise(log))
    assert all(entry.hash == digest(entry) for entry in log)
    forged = DecisionEntry(**log[0].model_dump() | {"decision": "promote!"})
    assert digest(forged) != forged.hash
