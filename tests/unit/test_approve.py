"""A package that waits for a person: told, decided on once, on record; late or against a refusal nothing is released."""

import pytest

from tests.samples import SPEC, folder, rows
from tests.world import NOW, World
from tidemill.errors import RecordMissing, ReleaseRefused, Superseded
from tidemill.events import ReleaseRef
from tidemill.records import Champion
from tidemill.steps.approve import decide_on, waive_comparison
from tidemill.steps.release import release_verify

ANNA = "arn:aws:iam::123456789012:user/anna"
LATER = "2024-06-09T12:00:00.000Z"


@pytest.fixture
def waiting(world) -> World:
    """boats/1 waits for a person; register ran twice, as after a retry."""
    uri = world.models.entries["boats"].uri
    world.models.folders[uri] = folder(SPEC.replace("[gate]", '[gate]\napprove = "person"\napprove_within_h = 24'))
    register = world.register
    world.register = lambda epoch: (register(epoch), register(epoch))
    world.registered()
    return world


def decide(world: World, verdict: str, now: str = NOW, version: int = 1):
    return decide_on("boats", version, verdict, "checked with ops", ANNA, now, ledger=world.ledger, registry=world.registry)


def status(world: World) -> tuple[str, str | None]:
    package = world.registry.packages[world.ledger.package("boats", 1).arn]
    return package["status"], package.get("reason")


def test_what_waits_is_told_once_with_what_to_type(waiting):
    assert status(waiting) == ("PendingManualApproval", None)
    ((subject, text),) = waiting.alerts.told
    assert subject == "boats/1 waits for approval"
    for part in (
        "Will it sink?",
        "AUC 0.70",
        "- no champion yet",
        "tidemill approve boats 1 --stage test",
        "until 2024-06-02T12:00:00.000Z",
        "eu-west-1.console",
    ):
        assert part in text


def test_what_is_approved_by_policy_is_told_to_nobody(world):
    world.registered()
    assert status(world)[0] == "Approved"
    assert (world.alerts.told, world.ledger.package("boats", 1).expires_at) == ([], None)


def test_an_approval_is_on_record_with_who_and_why_and_lets_the_release_go(waiting):
    decide(waiting, "approve")
    assert status(waiting) == ("Approved", f"{ANNA}: checked with ops")
    entry = waiting.ledger.decisions("boats")[-1]
    assert (entry.kind, entry.subject, entry.actor, entry.decision, entry.reasons) == ("approval", "boats/1", ANNA, "approve", ("checked with ops",))
    assert waiting.release()["package"] == "boats/1"
    assert release_verify(ReleaseRef(**waiting.ref()), ledger=waiting.ledger) == {"verified": "boats/1"}
    with pytest.raises(ReleaseRefused, match="its release is under way"):
        decide(waiting, "reject")


def waive(world, version=1, reason="its column is gone"):
    return waive_comparison("boats", version, reason, ANNA, NOW, ledger=world.ledger, lake=world.lake)


def test_a_champion_that_nothing_can_be_compared_with_holds_challengers_until_a_person_waives_it(world):
    world.registered()
    with pytest.raises(ReleaseRefused, match="boats/1 is not the champion, no package is"):
        waive(world)
    world.ledger.set_champion("boats", Champion(package="boats/1", version=1, model_data="m", endpoint_config="c", since=NOW), None)
    apart = {"unreadable": "ColumnNotFoundError", "set_beside": ("boats/1",)}

    def challenge(epoch: int) -> dict:
        world.upload(f"boats/data/{epoch}.csv", rows(10 + epoch))
        world.claim(epoch)
        world.prepare(epoch)
        world.assemble(epoch)
        decided = world.gate(epoch=epoch, **apart)
        world.finish(epoch, outcome="held")
        return decided

    with pytest.raises(ReleaseRefused, match="the newest judged run was not held for it"):
        waive(world)
    assert challenge(2)["decision"] == "hold"
    waive(world)
    entry = world.ledger.decisions("boats")[-1]
    assert (entry.kind, entry.subject, entry.actor, entry.decision) == ("approval", "boats/1", ANNA, "waive")
    assert entry.reasons == ("its column is gone", "ColumnNotFoundError")
    decided = challenge(3)
    assert decided["decision"] == "promote"
    assert decided["reasons"][-1].endswith(f"waived by {ANNA}: its column is gone")
    with pytest.raises(ReleaseRefused, match="boats/1 was waived already, by arn:aws:iam"):
        waive(world)
    with pytest.raises(RecordMissing):
        waive(world, version=9)


def test_what_was_rejected_is_never_released_whoever_approves_it(waiting):
    decide(waiting, "reject")
    assert status(waiting) == ("Rejected", f"{ANNA}: checked with ops")
    with pytest.raises(Superseded):
        waiting.release()
    with pytest.raises(ReleaseRefused, match="was decided on already: refused, checked with ops"):
        decide(waiting, "approve")


def test_an_approval_that_comes_late_releases_nothing_wherever_it_is_given(waiting):
    with pytest.raises(ReleaseRefused, match="could be approved until 2024-06-02"):
        decide(waiting, "approve", LATER)
    assert [entry.kind for entry in waiting.ledger.decisions("boats")] == ["gate", "run"]
    waiting.release()
    with pytest.raises(ReleaseRefused, match="could be approved until"):
        release_verify(ReleaseRef(**waiting.ref() | {"now": LATER}), ledger=waiting.ledger)


def test_what_the_gate_refused_and_what_is_not_there_cannot_be_approved(waiting):
    with pytest.raises(RecordMissing):
        decide(waiting, "approve", version=7)
    waiting.ledger.acquire("boats", 2, "arn:training:2")
    waiting.ledger.put_package(waiting.ledger.package("boats", 1).model_copy(update={"decision": "hold", "run": 2}))
    with pytest.raises(ReleaseRefused, match="the gate decided hold"):
        decide(waiting, "approve")
