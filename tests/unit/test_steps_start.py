"""intake and start, over ports in memory: each upload once, one run at a time."""

import pytest

from tests.samples import rows
from tests.world import T0
from tidemill.events import ObjectCreated, iso


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


@pytest.mark.parametrize(
    "key",
    ["a.csv", "boats/a.csv", "boats/other/a.csv", "boats/data/", "boats/data", "/data/a.csv", "../data/a.csv", "Bo ats/data/a.csv"],
)
def test_a_foreign_key_is_ignored_with_its_reason(world, key):
    taken = world.upload(key)
    assert (taken.outcome, taken.model) == ("ignored", None)
    assert world.ticks.sent == []


def test_labels_are_stored_and_start_nothing(world):
    assert world.upload("boats/labels/a.csv").outcome == "stored"
    assert world.ticks.sent == []
    assert world.tick("2024-06-01T13:00:00Z").outcome == "nothing_waits"


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


@pytest.mark.parametrize(
    "key", ["boats/data/a b.csv", "boats/data/ü/日本.csv", "boats/data/../../x.csv", "boats/data/a+b%20.csv", "boats/data/\n.csv"]
)
def test_any_key_of_a_models_folder_survives_as_it_is(world, key):
    assert world.upload(key, rows()).outcome == "pending"
    world.claim()
    assert [(p.key, p.outcome) for p in world.prepare()] == [(key, "prepared")]


# docs.aws.amazon.com/AmazonS3/latest/userguide/how-to-enable-disable-notification-intro.html
TEST_EVENT = {
    "Service": "Amazon S3",
    "Event": "s3:TestEvent",
    "Time": "2014-10-13T15:57:02.089Z",
    "Bucket": "landing",
    "RequestId": "5582815E1AEA5ADF",
}
DETAIL = {"bucket": {"name": "elsewhere"}, "object": {"key": "boats/data/a.csv", "size": 1}}


@pytest.mark.parametrize("message", [TEST_EVENT, {"detail-type": "Object Deleted"}, {"detail-type": "Object Created", "detail": DETAIL}, [], 3, None])
def test_a_message_that_is_no_object_of_ours_is_ignored_with_its_reason(world, message):
    taken = world.intake(message)
    assert (taken.outcome, taken.reason) == ("ignored", 'no "Object Created" of s3://landing')
    assert world.ticks.sent == []


@pytest.mark.parametrize("body", ["", "{", '{"detail-type": "Object Created"}', '{"detail-type": "Object Created", "detail": {"bucket": {}}}'])
def test_a_malformed_message_is_an_error_so_that_it_ends_as_a_dead_letter(body):
    with pytest.raises(ValueError, match=r"\S"):
        ObjectCreated.read(body)


def test_the_quiet_window_holds_under_a_maximum_wait_of_hours(world):
    world.models.entries["boats"] = world.models.entries["boats"].model_copy(update={"quiet_s": 900, "max_wait_s": 43_200})
    minutes, now = 0, ""
    while (outcome := world.tick(now).outcome if now else "quiet_window") == "quiet_window" and minutes < 1000:
        world.upload(f"boats/data/{minutes}.csv", at_ms=T0 + minutes * 60_000)
        assert world.ticks.sent[-1] == ("boats", 900)
        minutes += 10
        now = iso(T0 + minutes * 60_000)
    assert (outcome, minutes) == ("started", 720)


def test_a_tick_finds_an_execution_that_died_before_it_claimed_busy_and_the_sweeper_buries_it(world):
    world.upload("boats/data/a.csv")
    died = world.tick("2024-06-01T12:05:00Z").execution
    world.workflow.executions[died] = False
    assert world.tick("2024-06-01T12:06:00Z").outcome == "busy"
    assert world.sweep()[0].outcome == "buried"
    assert world.ledger.run("boats", 1).reasons == ("Execution: ABORTED: no cause was given",)
    assert world.tick("2024-06-01T12:07:00Z").execution.endswith("boats-0002")
    assert world.claim(2)["epoch"] == 2


def test_a_dead_owner_does_not_keep_the_lease_and_its_uploads_are_taken_again(world):
    world.upload("boats/data/a.csv", rows())
    died = world.tick("2024-06-01T12:05:00Z").execution
    world.claim()
    world.workflow.executions[died] = False
    world.upload("boats/data/b.csv", rows(9))
    detail = {"executionArn": died, "status": "TIMED_OUT", "input": '{"model": "boats", "epoch": 1}', "startDate": T0}
    swept = world.sweep(**detail)
    assert [(s.outcome, s.finished.given_back) for s in swept] == [("buried", ("boats/data/a.csv",))]
    assert world.ledger.run("boats", 1).outcome == "failed"
    assert world.ledger.lease("boats").owner is None
    assert world.tick("2024-06-01T12:09:00Z").execution.endswith("boats-0002")
    world.claim(2)
    assert [u.epoch for u in world.ledger.uploads("boats")] == [2, 2]
    assert [u.attempts for u in world.ledger.uploads("boats")] == [2, 1]


def test_the_sweeper_leaves_the_living_alone_and_ticks_for_an_upload_whose_tick_was_lost(world):
    assert world.sweep()[0].outcome == "idle"
    world.upload("boats/data/a.csv")
    world.ticks.sent.clear()
    assert world.sweep()[0].outcome == "ticked"
    assert world.ticks.sent == [("boats", 0)]
    world.tick("2024-06-01T12:05:00Z")
    assert world.sweep()[0].outcome == "alive"
    world.claim()
    assert world.sweep()[0].outcome == "alive"


def test_an_owner_that_step_functions_forgot_is_dead(world):
    world.upload("boats/data/a.csv")
    world.claim()
    assert world.sweep()[0].outcome == "buried"
    assert "GONE" in world.ledger.run("boats", 1).reasons[0]


def test_an_event_about_an_execution_that_holds_nothing_buries_nobody(world):
    world.upload("boats/data/a.csv")
    world.tick("2024-06-01T12:05:00Z")
    world.claim()
    detail = {"executionArn": "arn:other", "status": "FAILED", "input": '{"model": "boats"}'}
    assert world.sweep(**detail)[0].outcome == "alive"
    assert world.ledger.lease("boats").owner.endswith("boats-0001")
    assert world.sweep(executionArn="arn:x", status="FAILED", input="nonsense")[0].outcome == "alive"
