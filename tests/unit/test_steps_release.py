"""the release steps, over ports in memory: the live model is sacred."""

import itertools

import pytest

from tests.samples import evaluation
from tests.world import NOW
from tidemill.errors import ReleaseBusy, ReleaseRefused, SmokeFailed, Superseded
from tidemill.evaluate.record import GoldenRequest
from tidemill.events import (
    Failure,
    ReleaseEnd,
    ReleaseRef,
    SmokeRequest,
)  # fmt: skip
from tidemill.records import Champion, DecisionEntry, digest
from tidemill.steps.release import release_finish, release_smoke, release_verify


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
    world.ledger.acquire("boats", 2, "arn:training:2")
    world.ledger.put_package(world.ledger.package("boats", 1).model_copy(update={"decision": "reject", "run": 2}))
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
    golden = evaluation(0.7).model_copy(update={"golden": (GoldenRequest(instance={"kind": "sail"}, answer={"score": 0.25, "label": False}),)})
    world.lake.put("e1.json", golden.model_dump_json().encode())
    world.endpoints.answers["candidate"] = ({"predictions": [{"score": score, "label": False}]}, named)
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
    package = world.registry.packages["arn:aws:sagemaker:eu-west-1:123456789012:model-package/test-boats/1"]
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
