"""The clock: timers in their order at their own moments, waits that wake, periods, cancelling, stopping."""

import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from localcloud.clock import Clock

SLACK_S = 2.0
"""How much real time may pass within a test on a busy machine: moments are compared with that much room."""


@pytest.fixture
def clock() -> Iterator[Clock]:
    made = Clock()
    yield made
    made.stop()


def happens(event: threading.Event) -> bool:
    return event.wait(10)


def test_advance_runs_timers_in_order_each_at_its_own_moment(clock):
    seen, start = [], clock.now()
    for due in (300, 100, 200):
        clock.at(start + due, lambda due=due: seen.append((due, clock.now() - start)))
    clock.advance(250)
    assert [due for due, _ in seen] == [100, 200]
    assert all(due <= moment < due + SLACK_S for due, moment in seen)
    clock.advance(50)
    assert [due for due, _ in seen] == [100, 200, 300]


def test_timers_of_one_moment_run_in_the_order_they_were_set(clock):
    seen, moment = [], clock.now() + 100
    for number in range(20):
        clock.at(moment, lambda number=number: seen.append(number))
    clock.advance(100)
    assert seen == list(range(20))


def test_a_timer_set_by_a_timer_runs_within_the_same_advance_if_it_is_due(clock):
    seen, start = [], clock.now()

    def first() -> None:
        seen.append("first")
        clock.at(start + 20, lambda: seen.append("second"))
        clock.at(start + 90, lambda: seen.append("later"))

    clock.at(start + 10, first)
    clock.at(start + 30, lambda: seen.append("third"))
    clock.advance(60)
    assert seen == ["first", "second", "third"]


def test_a_timer_runs_by_itself_when_its_time_has_come(clock):
    rang = threading.Event()
    clock.at(clock.now() + 0.02, rang.set)
    assert happens(rang)


def test_a_timer_in_the_past_runs_at_once(clock):
    rang = threading.Event()
    clock.at(clock.now() - 1000, rang.set)
    assert happens(rang)


def test_a_timer_that_comes_first_overtakes_one_that_is_waited_for(clock):
    rang = threading.Event()
    clock.at(clock.now() + 1000, lambda: None)
    clock.at(clock.now() + 0.02, rang.set)
    assert happens(rang)


def test_a_period_repeats_at_multiples_without_drift(clock):
    moments, start = [], clock.now()
    clock.at(start + 60, lambda: moments.append(clock.now() - start), period_s=60)
    clock.advance(150)
    clock.advance(150)
    assert len(moments) == 5
    assert all(60 * n <= moment < 60 * n + SLACK_S for n, moment in enumerate(moments, 1))


def test_a_cancelled_timer_does_not_run_nor_repeat(clock):
    seen = []
    once = clock.at(clock.now() + 10, lambda: seen.append("once"))
    once.cancel()
    often = clock.at(clock.now() + 10, lambda: (seen.append("often"), often.cancel()), period_s=10)
    clock.advance(100)
    assert seen == ["often"]


def test_a_failing_timer_hurts_no_other_and_repeats(clock):
    seen = []

    def fail() -> None:
        seen.append("fail")
        raise RuntimeError("on purpose")

    clock.at(clock.now() + 10, fail, period_s=10)
    clock.at(clock.now() + 15, lambda: seen.append("fine"))
    clock.advance(25)
    assert seen == ["fail", "fine", "fail"]


def test_actions_run_one_at_a_time_whoever_moves_the_clock(clock):
    most, done, inside = [0], [], [0]

    def action() -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        time.sleep(0.001)
        inside[0] -= 1
        done.append(1)

    for number in range(40):
        clock.at(clock.now() + number / 2000, action)
    threads = [threading.Thread(target=clock.advance, args=(1,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(done), most[0]) == (40, 1)


def waits(clock: Clock, number: int) -> None:
    """Until that many threads wait on the clock, its own among them."""
    ends = time.monotonic() + 10
    while len(clock._condition._waiters) < number:
        assert time.monotonic() < ends
        time.sleep(0.001)


def waiter(clock: Clock, seconds: float, until=None) -> tuple[threading.Event, list]:
    """A thread that waits, once it does: (set when it is back, what it got)."""
    back, got = threading.Event(), []

    def run() -> None:
        got.append(clock.wait(seconds, until))
        back.set()

    threading.Thread(target=run, daemon=True).start()
    waits(clock, 2)
    return back, got


def test_advance_wakes_who_waited_long_enough_and_nobody_else(clock):
    back, got = waiter(clock, 100)
    clock.advance(50)
    assert not back.is_set()
    clock.advance(51)
    assert happens(back)
    assert got == [False]


def test_a_signal_ends_a_wait(clock):
    signal = clock.signal()
    back, got = waiter(clock, 100, signal)
    signal.set()
    assert happens(back)
    assert got == [True]


def test_a_wait_for_a_signal_that_is_set_takes_no_time(clock):
    signal = clock.signal()
    signal.set()
    assert clock.wait(1000, signal)
    assert not clock.wait(0, clock.signal())


def test_stop_wakes_everybody_and_no_timer_runs_any_more():
    clock, seen = Clock(), []
    back, got = waiter(clock, 1000)
    clock.at(clock.now() + 10, lambda: seen.append("late"))
    clock.stop()
    assert happens(back)
    assert got == [False]
    clock.at(clock.now() + 10, lambda: seen.append("later"))
    clock.advance(100)
    assert seen == []


def test_a_timer_may_advance_the_clock_itself(clock):
    seen, start = [], clock.now()
    clock.at(start + 10, lambda: clock.advance(20))
    clock.at(start + 15, lambda: seen.append("inner"))
    clock.advance(12)
    assert seen == ["inner"]
    assert clock.now() - start >= 30


def test_an_action_that_waits_on_the_clock_does_not_hold_it_up(clock):
    waiting, waited = threading.Event(), threading.Event()

    def slow() -> None:
        waiting.set()
        clock.wait(500)
        waited.set()

    clock.at(clock.now() + 0.01, slow)
    assert happens(waiting)
    clock.at(clock.now() + 100, lambda: None)
    clock.advance(600)
    assert happens(waited)


def test_the_clock_goes_forward_only_and_periods_have_a_length(clock):
    with pytest.raises(ValueError, match="forward"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="period"):
        clock.at(clock.now(), lambda: None, period_s=0)


def test_a_timer_centuries_away_does_not_stop_the_clock(clock):
    first, second = threading.Event(), threading.Event()
    clock.at(clock.now() + 1e12, lambda: None)
    clock.at(clock.now() + 0.02, first.set)
    assert happens(first)
    waits(clock, 1)
    clock.at(clock.now() + 0.02, second.set)
    assert happens(second)


TIMERS = st.lists(st.tuples(st.integers(1, 50), st.sampled_from([None, None, 7, 13]), st.booleans()), max_size=12)
STEPS = st.lists(st.integers(0, 40), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(TIMERS, STEPS)
def test_any_timers_run_as_a_calendar_says_however_the_time_passes(timers, steps):
    """A model: all moments up to the end, sorted by time; each runs once, in that order, not before its moment."""
    clock, seen = Clock(), []
    try:
        start, unit = clock.now(), 1000.0
        for number, (due, period, cancelled) in enumerate(timers):
            made = clock.at(
                start + due * unit, lambda number=number: seen.append((round((clock.now() - start) / unit, 2), number)), period and period * unit
            )
            if cancelled:
                made.cancel()
        for step in steps:
            clock.advance(step * unit)
        ends = sum(steps)
        calendar = sorted(
            (moment, number)
            for number, (due, period, cancelled) in enumerate(timers)
            if not cancelled
            for moment in (range(due, ends + 1, period) if period else [due] if due <= ends else [])
        )
        assert sorted((int(moment), number) for moment, number in seen) == calendar
        assert [int(moment) for moment, _ in seen] == [moment for moment, _ in calendar]
    finally:
        clock.stop()
