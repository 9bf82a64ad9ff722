"""intake and start, over ports in memory: each upload once, one run at a time."""

import pytest

from tests.samples import rows
from tests.world import T0


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
